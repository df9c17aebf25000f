/* The controller in integers: no floating point, no math.h, and the same bits on every compiler.
 *
 * Observations, actions, outputs and normalised observations are Q16: the number times 65536, in int32_t. Weights are
 * int16_t times 2^shift, one shift a layer; currents, potentials, thresholds and biases of a layer have its shift, in
 * int32_t, held within 2^30. Decays are Q15. Right shifts and divisions round down. It does not adapt. */
#ifndef HOMEO_INT_H
#define HOMEO_INT_H

#include "homeo.h"

typedef struct {
    int32_t inputs, size, shift;
    const int16_t *weight;  /* [inputs][size] */
    const int32_t *bias;    /* [size] */
    const int32_t *initial; /* [size], or null for 0 */
    int32_t threshold, leak; /* leak: 1 / tau, Q15 */
} homeo_int_layer;

typedef struct {
    int32_t inputs, outputs, actions, layers, steps, width;
    int32_t encoder, neuron, hard, readout, squash, bins;
    int32_t current_decay, voltage_decay; /* Q15 */
    int32_t inverse_span, gain, clip;     /* Q16 */
    const int32_t *shift, *scale;         /* [D] Q16: mean and 1 / deviation, or null */
    const int32_t *mean, *precision;      /* [width] Q16: centre and 1 / (2 std^2), or null */
    const int32_t *readout_weight, *readout_bias;     /* Q16, or null */
    const int32_t *low, *high, *middle, *half;        /* [K] Q16, or null for a choice */
    const int32_t *values;                            /* [bins] Q16, or null */
    const int32_t *exponential; /* [1025] Q16: exp(-k / 64) */
    const int32_t *tangent;     /* [1025] Q16: tanh(k / 128) */
    const homeo_int_layer *layer;
} homeo_int_policy;

typedef struct {
    const homeo_int_policy *policy;
    int32_t widest, ready;
    int32_t *z, *activity, *u, *v, *product, *count, *output, *fired; /* fired: events of each step, two layers */
    uint16_t *place;
    uint8_t *spikes;
    homeo_random random;
} homeo_int;

/* Bytes of memory that a policy needs. */
size_t homeo_int_memory(const homeo_int_policy *policy);

/* Lay out memory, aligned as int32_t. Returns HOMEO_OK or HOMEO_NO_MEMORY. */
int homeo_int_init(homeo_int *h, const homeo_int_policy *policy, uint32_t *memory, size_t bytes);

/* Begin an episode; the seed is that of numpy.random.default_rng. */
int homeo_int_reset(homeo_int *h, uint64_t seed);

/* Decide: observation [D] in, action [K] out, both Q16 (a choice is an index). */
int homeo_int_act(homeo_int *h, const int32_t *observation, int32_t *action);

#endif
