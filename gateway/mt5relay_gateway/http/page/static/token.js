// The token of this tab: it is never in a URL, and gone with the tab.

const NAME = "mt5relay.token";

export const keptToken = () => sessionStorage.getItem(NAME);
export const keepToken = (text) => sessionStorage.setItem(NAME, text);
export const forgetToken = () => sessionStorage.removeItem(NAME);
