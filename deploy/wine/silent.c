/* Never opens the terminal's pipe: `initialize` on it blocks for 100 s. */
#include <windows.h>

int WINAPI WinMain(HINSTANCE instance, HINSTANCE previous, LPSTR line, int show)
{
    (void)instance, (void)previous, (void)line, (void)show;
    Sleep(130 * 1000); /* bounded: nothing else ends it */
    return 0;
}
