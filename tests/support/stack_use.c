/* The recorded decisions and a sleep on a stack of their own that was painted before; prints how much of it was used. */
#define _XOPEN_SOURCE 700
#define HOMEO_NO_MAIN
#include "test_controller.c"

#include <stdio.h>
#include <ucontext.h>

#define STACK_BYTES 65536
#define UNUSED_STACK 0xa5

static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
static ucontext_t outside, inside;
static int failed;

static void run(void)
{
    result r[4] = {{0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}};

    failed = homeo_check(0, r);
}

int main(void)
{
    int unused = 0;

    for (unused = 0; unused < STACK_BYTES; unused++) {
        stack[unused] = UNUSED_STACK;
    }
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = sizeof stack;
    inside.uc_link = &outside;
    makecontext(&inside, run, 0);
    swapcontext(&outside, &inside);
    for (unused = 0; unused < STACK_BYTES && stack[unused] == UNUSED_STACK; unused++) {
    }
    printf("stack bytes %d\n", STACK_BYTES - unused);
    return failed;
}
