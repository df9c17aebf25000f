/* What the page calls: one controller, its parts switched on by the page, damage, and figures to draw. */
#include <math.h>
#include <emscripten.h>

#include POLICY_HEADER

#define LIVE EMSCRIPTEN_KEEPALIVE
#define WORDS HOMEO_WORDS(POLICY_NAME(WRITABLE_BYTES))

enum { DWAM = 1, SLEEP = 2, OBSERVER = 4 };

static homeo_policy policy;
static homeo controller;
static homeo_word memory[WORDS];
static homeo_real observation[POLICY_NAME(INPUTS)], action[POLICY_NAME(ACTIONS)];

LIVE float *live_observation(void) { return observation; }
LIVE float *live_action(void) { return action; }
LIVE int live_layers(void) { return POLICY.layers; }
LIVE int live_inputs(int layer) { return POLICY.layer[layer].inputs; }
LIVE int live_size(int layer) { return POLICY.layer[layer].size; }
LIVE const float *live_rates(int layer) { return homeo_rates(&controller, layer); }
LIVE double live_change(int layer) { return (double)controller.change[layer]; }
LIVE int live_sleeps(void) { return controller.sleep_count; }

/* A controller with some parts of the exported mechanism; then it is reset. */
LIVE int live_start(int parts, uint32_t seed)
{
    int result;

    policy = POLICY;
    if (!(parts & DWAM)) {
        policy.rules = policy.rates = policy.rehearsals = 0;
        policy.rate = NULL;
        policy.healthy = NULL;
    }
    if (!(parts & SLEEP)) {
        policy.form = HOMEO_FORM_NONE; /* what rehearses keeps its self-test and memory */
        policy.sleeps = (parts & DWAM) ? policy.sleeps : 0;
    }
    result = homeo_init(&controller, &policy, memory, sizeof memory,
                        HOMEO_WRITABLE | (parts & OBSERVER ? 0 : HOMEO_UNOBSERVED));
    return result == HOMEO_OK ? homeo_reset(&controller, seed) : result;
}

LIVE int live_reset(uint32_t seed) { return homeo_reset(&controller, seed); }
LIVE int live_restart(uint32_t seed) { return homeo_restart(&controller, seed); }
LIVE int live_observe(void) { return homeo_observe(&controller, observation); }
LIVE int live_act(void) { return homeo_act(&controller, observation, action); }
LIVE int live_selftest_due(void) { return homeo_selftest_due(&controller); }
LIVE int live_selftest_start(void) { return homeo_selftest_start(&controller); }
LIVE int live_sleep_start(void) { return homeo_sleep_start(&controller); }

/* At most `slices` slices of the self-test or the sleep in progress. */
LIVE int live_selftest_step(int slices)
{
    int result = HOMEO_BUSY;

    while (slices-- > 0 && result == HOMEO_BUSY) {
        result = homeo_selftest_step(&controller);
    }
    return result;
}

LIVE int live_sleep_step(int slices)
{
    int result = HOMEO_BUSY;

    while (slices-- > 0 && result == HOMEO_BUSY) {
        result = homeo_sleep_step(&controller);
    }
    return result;
}

/* At most `slices` slices of the rehearsal of broken sensors that is due. */
LIVE int live_rehearse_step(int slices)
{
    int result = HOMEO_BUSY;

    while (slices-- > 0 && result == HOMEO_BUSY) {
        result = homeo_rehearse_step(&controller);
    }
    return result;
}

/* -1: no alarm of an observer; else what the policy gets, HOMEO_NOTHING, HOMEO_ESTIMATE, ... */
LIVE int live_alarm(void)
{
    homeo_alarm alarm;

    return homeo_read_alarm(&controller, &alarm) == HOMEO_OK && alarm.open ? alarm.used : -1;
}

/* What the last decision was made from, in the place of the observation; null: the observation itself. */
LIVE float *live_estimate(void) { return live_alarm() > HOMEO_NOTHING ? controller.observed.seen : NULL; }

/* Distance of the acting weights of a layer from the trained ones, as a share of the trained ones' norm. */
LIVE double live_drift(int layer)
{
    const homeo_layer *l = &POLICY.layer[layer];
    const float *now = controller.live.weight[layer], *delta = controller.live.delta[layer];
    double moved = 0.0, whole = 0.0;
    int32_t k;

    for (k = 0; k < l->inputs * l->size; k++) {
        double change = (double)now[k] + (delta == NULL ? 0.0 : (double)delta[k]) - (double)l->weight[k];

        moved += change * change;
        whole += (double)l->weight[k] * (double)l->weight[k];
    }
    return whole > 0.0 ? sqrt(moved / whole) : 0.0;
}

LIVE int live_lose_synapses(int layer, double share, uint32_t seed)
{
    return homeo_damage_synapses(&controller, layer, (float)share, seed);
}

/* Each neuron dies with this probability. */
LIVE int live_kill_neurons(int layer, double share, uint32_t seed)
{
    homeo_random random;
    int32_t n;

    homeo_random_seed(&random, seed);
    for (n = 0; n < POLICY.layer[layer].size; n++) {
        if ((double)homeo_random_float(&random) < share) {
            homeo_damage_neuron(&controller, layer, n, HOMEO_DEAD);
        }
    }
    return HOMEO_OK;
}

/* Every weight += N(0, std). */
LIVE int live_disturb_weights(int layer, double std, uint32_t seed)
{
    const homeo_layer *l = &POLICY.layer[layer];
    homeo_random random;
    int32_t n, k;

    homeo_random_seed(&random, seed);
    for (k = 0; k < l->inputs; k++) {
        for (n = 0; n < l->size; n++) {
            double radius = sqrt(-2.0 * log(1.0 - (double)homeo_random_float(&random)));
            double angle = 6.283185307179586 * (double)homeo_random_float(&random);
            float now = controller.weight[layer][k * l->size + n];

            homeo_damage_weight(&controller, layer, n, k, now + (float)(std * radius * cos(angle)));
        }
    }
    return HOMEO_OK;
}
