/* The recorded decisions on a Cortex-M4F without an operating system; output and exit by semihosting. */
#define HOMEO_NO_MAIN
#if defined(HOMEO_INTEGERS)
#include "test_integer.c"
#define COUNT_DIFFERENCES homeo_int_check
#elif defined(HOMEO_OBSERVER)
#include "test_observer.c"
#define COUNT_DIFFERENCES homeo_observer_check
#else
#include "test_controller.c"
#endif

#define STACK_WORDS 2048
#define UNUSED_STACK 0xa5a5a5a5u

extern int errno_place;
int errno_place;
int *__errno(void);
void reset(void);

static uint32_t stack[STACK_WORDS] __attribute__((aligned(8)));

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print_number(const char *name, unsigned value)
{
    char text[16];
    int k = 15;

    text[k] = 0;
    text[--k] = '\n';
    do {
        text[--k] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    semihost(4, name);
    semihost(4, text + k);
}

int *__errno(void)
{
    return &errno_place;
}

#ifdef COUNT_DIFFERENCES
static void run(void)
{
    const int differing = COUNT_DIFFERENCES();
    const uint32_t leaving[2] = {0x20026, (uint32_t)differing};

    print_number("differing ", (unsigned)differing);
    semihost(0x20, leaving);
    for (;;) {
    }
}
#else
static void run(void)
{
    result r[4] = {{0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}};
    unsigned unused = 0;
    const int failed = homeo_check(RECORDED_ALLOWED, r);
    const uint32_t leaving[2] = {0x20026, (uint32_t)failed};

    print_number("healthy actions ", (unsigned)r[0].actions);
    print_number("healthy spikes ", (unsigned)r[0].spikes);
    print_number("damaged actions ", (unsigned)r[1].actions);
    print_number("damaged spikes ", (unsigned)r[1].spikes);
    print_number("slept distance 1e-6 ", (unsigned)(1e6 * r[2].distance));
    print_number("state bytes ", (unsigned)sizeof controller);
    print_number("memory bytes ", (unsigned)sizeof memory);
    while (unused < STACK_WORDS && stack[unused] == UNUSED_STACK) {
        unused++;
    }
    print_number("stack bytes ", (STACK_WORDS - unused) * 4u);
    print_number("failed ", (unsigned)failed);
    semihost(0x20, leaving);
    for (;;) {
    }
}
#endif

void reset(void)
{
    unsigned k;

#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n isb");
#endif
    for (k = 0; k < STACK_WORDS - 64; k++) {
        stack[k] = UNUSED_STACK;
    }
    run();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {stack + STACK_WORDS, (const void *)reset};
