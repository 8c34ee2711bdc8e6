#include <stdio.h>
#include "a.h"
#include <b.h>
#include <sys.h>
#include CHOSEN
#if __has_include("maybe.h")
#include "maybe.h"
#endif
#if __has_include(<sys_maybe.h>)
#define SM 1
#else
#define SM 0
#endif
#ifndef MAYBE
#define MAYBE 0
#endif
#ifdef FLAG
#define F FLAG
#else
#define F 0
#endif
__asm__(".data\n.globl blob\nblob:\n.incbin \"data.bin\"\n.byte 0\n.text\n");
extern char blob[];
int low(void);
int own(void);
int more(void);
int main(void) {
    printf("%d %d %d %d %d %d %d %d %d %d %s\n", A, B, S, C, SM, MAYBE, F, low(), own(), more(), blob);
    return 0;
}
