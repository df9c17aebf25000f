/* Damage to the weights that a state acts with, for tests and demonstrations. */
#include "homeo_internal.h"

static int check(homeo *h, int layer, int neuron, int input)
{
    if (h->policy == NULL || !h->ready) {
        return HOMEO_NOT_READY;
    }
    if (layer < 0 || layer >= h->policy->layers || neuron < 0 || neuron >= h->policy->layer[layer].size || input < 0 ||
        input >= h->policy->layer[layer].inputs) {
        return HOMEO_RANGE;
    }
    if (h->weight[layer] == NULL) {
        return HOMEO_ABSENT;
    }
    h->job.kind = 0; /* a sleep in progress knows the weights of before */
    h->tested = 0;
    return HOMEO_OK;
}

int homeo_damage_weight(homeo *h, int layer, int neuron, int input, homeo_real value)
{
    int result = check(h, layer, neuron, input);

    if (result == HOMEO_OK && !isfinite(value)) {
        return HOMEO_RANGE;
    }
    if (result == HOMEO_OK) {
        h->weight[layer][(size_t)input * (size_t)h->policy->layer[layer].size + (size_t)neuron] = value;
    }
    return result;
}

int homeo_damage_bias(homeo *h, int layer, int neuron, homeo_real value)
{
    int result = check(h, layer, neuron, 0);

    if (result == HOMEO_OK && !isfinite(value)) {
        return HOMEO_RANGE;
    }
    if (result == HOMEO_OK) {
        h->bias[layer][neuron] = value;
    }
    return result;
}

int homeo_damage_neuron(homeo *h, int layer, int neuron, int what)
{
    int result = check(h, layer, neuron, 0);

    if (result == HOMEO_OK && what != HOMEO_ALIVE && what != HOMEO_DEAD && what != HOMEO_STUCK) {
        return HOMEO_RANGE;
    }
    if (result == HOMEO_OK) {
        h->flag[layer][neuron] = (uint8_t)what;
    }
    return result;
}

int homeo_damage_synapses(homeo *h, int layer, homeo_real probability, uint64_t seed)
{
    int result = check(h, layer, 0, 0);
    homeo_random random;
    size_t k;

    if (result != HOMEO_OK) {
        return result;
    }
    homeo_random_seed(&random, seed);
    for (k = 0; k < (size_t)h->policy->layer[layer].size * (size_t)h->policy->layer[layer].inputs; k++) {
        if (R(homeo_random_float(&random)) < probability) {
            h->weight[layer][k] = R(0);
        }
    }
    return HOMEO_OK;
}
