/* The controller against decisions that the Python package recorded. Exit status 0: they are equal.
 *
 * Without printf, so that it runs on bare metal: `homeo_check` returns how many decisions differ, by segment. */
#include "homeo.h"

#include "recorded.h"

#ifndef HOMEO_TOLERANCE
#define HOMEO_TOLERANCE 1e-6f
#endif

static homeo_word memory[HOMEO_WORDS(RECORDED_BYTES)];
static homeo controller;

typedef struct {
    int actions, spikes; /* decisions that differ */
    double distance;     /* mean distance of the actions from the healthy ones */
} result;

static uint32_t digest(const homeo *h)
{
    const homeo_policy *p = h->policy;
    uint32_t value = 0x811c9dc5u;
    int i;
    int32_t n;

    for (i = p->encoder == HOMEO_CONSTANT ? 0 : -1; i < p->layers; i++) {
        const homeo_real *rate = homeo_rates(h, i);
        const int32_t size = i < 0 ? p->width : p->layer[i].size;

        if (p->readout == HOMEO_MEMBRANE && i == p->layers - 1) {
            continue;
        }
        for (n = 0; n < size; n++) {
            const uint32_t count = (uint32_t)(rate[n] * (homeo_real)p->steps + (homeo_real)0.5);

            value = (value ^ (count & 0xffu)) * 0x01000193u;
            value = (value ^ (count >> 8)) * 0x01000193u;
        }
    }
    return value;
}

static double apart(double a, double b)
{
    return a < b ? b - a : a - b;
}

static result drive(const float *observations, const float *actions, const uint32_t *digests)
{
    result r = {0, 0, 0.0};
    homeo_real observation[RECORDED_INPUTS], action[RECORDED_ACTIONS];
    int i, k;

    for (i = 0; i < RECORDED_DECISIONS; i++) {
        int differs = 0;

        for (k = 0; k < RECORDED_INPUTS; k++) {
            observation[k] = observations[i * RECORDED_INPUTS + k];
        }
        if (homeo_observe(&controller, observation) == HOMEO_DUE) {
            homeo_rehearse(&controller);
        }
        if (homeo_act(&controller, observation, action) != HOMEO_OK) {
            r.actions = r.spikes = RECORDED_DECISIONS;
            return r;
        }
        for (k = 0; k < RECORDED_ACTIONS; k++) {
            if (actions != NULL) {
                differs |= !(apart(action[k], actions[i * RECORDED_ACTIONS + k]) <= HOMEO_TOLERANCE);
            }
            r.distance += apart(action[k], recorded_healthy[i][k]) / (RECORDED_DECISIONS * RECORDED_ACTIONS);
        }
        r.actions += differs;
        r.spikes += digests != NULL && digest(&controller) != digests[i];
    }
    return r;
}

/* Broken sensors, with the observer. */
static int check_observer(int allowed, result results[4])
{
#ifdef RECORDED_USED
    if (homeo_init(&controller, &RECORDED_POLICY, memory, sizeof memory, 0) != HOMEO_OK) {
        return 1;
    }
    homeo_reset(&controller, RECORDED_SEED);
    results[3] = drive(recorded_faulty_observations[0], recorded_faulty[0], recorded_faulty_digests);
    return results[3].actions > allowed || results[3].spikes > allowed ||
           controller.observed.verdict->used != RECORDED_USED ? 6 : 0;
#else
    (void)allowed;
    (void)results;
    return 0;
#endif
}

/* Returns 0, or the number of the segment that failed: 1 memory, 2 healthy, 3 damaged, 4 self-test, 5 sleep,
 * 6 broken sensors. */
static int homeo_check(int allowed, result results[4])
{
    const int flags = HOMEO_WRITABLE | HOMEO_UNOBSERVED; /* damage is compared without an observer */

    if (homeo_init(&controller, &RECORDED_POLICY, memory, sizeof memory, flags) != HOMEO_OK ||
        homeo_memory(&RECORDED_POLICY, HOMEO_WRITABLE) != RECORDED_BYTES) {
        return 1;
    }
    homeo_reset(&controller, RECORDED_SEED);
    if (homeo_maybe_sleep(&controller) != 0) {
        return 4; /* a healthy network passes */
    }
    results[0] = drive(recorded_observations[0], recorded_healthy[0], recorded_healthy_digests);
    if (results[0].actions > allowed || results[0].spikes > allowed) {
        return 2;
    }
    homeo_reset(&controller, RECORDED_SEED);
    homeo_damage_synapses(&controller, RECORDED_DAMAGED_LAYER, RECORDED_LOST, RECORDED_DAMAGE_SEED);
    results[1] = drive(recorded_observations[0], recorded_damaged[0], recorded_damaged_digests);
    if (results[1].actions > allowed || results[1].spikes > allowed) {
        return 3;
    }
    if (!RECORDED_SLEEPS) {
        return check_observer(allowed, results);
    }
    homeo_reset(&controller, RECORDED_SEED);
    homeo_damage_synapses(&controller, RECORDED_DAMAGED_LAYER, RECORDED_LOST, RECORDED_DAMAGE_SEED);
    if (homeo_selftest(&controller) != HOMEO_FAILED) {
        return 4;
    }
    if (homeo_sleep(&controller) != HOMEO_OK || controller.sleep_count != 1) {
        return 5;
    }
    results[2] = drive(recorded_observations[0], NULL, NULL);
    /* Sums of a sleep run in another order than Python's: single spikes differ, what sleep is worth does not. */
    if (!(apart(results[2].distance, RECORDED_SLEPT_DISTANCE) <= 0.1 * RECORDED_DAMAGED_DISTANCE + 1e-6)) {
        return 5;
    }
    return check_observer(allowed, results);
}

#ifndef HOMEO_NO_MAIN
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
    const int allowed = count > 1 ? atoi(words[1]) : 0; /* decisions that may differ: see README */
    result r[4] = {{0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}, {0, 0, 0.0}};
    const int failed = homeo_check(allowed, r);

    printf("healthy: %d of %d actions and %d spike trains differ\n", r[0].actions, RECORDED_DECISIONS, r[0].spikes);
    printf("damaged: %d of %d actions and %d spike trains differ; distance from healthy %.6f (Python %.6f)\n",
           r[1].actions, RECORDED_DECISIONS, r[1].spikes, r[1].distance, RECORDED_DAMAGED_DISTANCE);
    if (RECORDED_SLEEPS) {
        printf("after sleep: distance from healthy %.6f (Python %.6f)\n", r[2].distance, RECORDED_SLEPT_DISTANCE);
    }
#ifdef RECORDED_USED
    printf("broken sensors: %d of %d actions and %d spike trains differ; estimates in %ld decisions (Python %d)\n",
           r[3].actions, RECORDED_DECISIONS, r[3].spikes, (long)controller.observed.verdict->used, RECORDED_USED);
#endif
    if (failed) {
        printf("FAILED: segment %d\n", failed);
    } else {
        printf("equal\n");
    }
    return failed;
}
#endif
