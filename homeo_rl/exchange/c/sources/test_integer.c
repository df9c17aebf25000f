/* The controller in integers against recorded decisions of the reference, which it repeats exactly. */
#include "homeo_int.h"

#include "recorded.h"

static uint32_t memory[(RECORDED_BYTES + 3) / 4];
static homeo_int controller;

/* Returns how many decisions differ, or -1: the memory is not what was recorded. */
static int homeo_int_check(void)
{
    int32_t action[RECORDED_ACTIONS];
    int i, k, differing = 0;

    if (homeo_int_memory(&RECORDED_POLICY) != RECORDED_BYTES ||
        homeo_int_init(&controller, &RECORDED_POLICY, memory, sizeof memory) != HOMEO_OK) {
        return -1;
    }
    homeo_int_reset(&controller, RECORDED_SEED);
    for (i = 0; i < RECORDED_DECISIONS; i++) {
        int differs = homeo_int_act(&controller, recorded_observations[i], action) != HOMEO_OK;

        for (k = 0; k < RECORDED_ACTIONS; k++) {
            differs |= action[k] != recorded_actions[i][k];
        }
        differing += differs;
    }
    return differing;
}

#ifndef HOMEO_NO_MAIN
#include <stdio.h>

int main(void)
{
    const int differing = homeo_int_check();

    printf("%d of %d actions differ\n%s\n", differing, RECORDED_DECISIONS, differing ? "FAILED" : "equal");
    return differing != 0;
}
#endif
