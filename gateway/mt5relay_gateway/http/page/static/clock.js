// Redis server time, by which everything is dated; the browser's own clock may be wrong.

let aheadMs = 0;

export const serverNow = () => Date.now() + aheadMs;
export const learnServerTime = (nowMs) => {
  aheadMs = nowMs - Date.now();
};
