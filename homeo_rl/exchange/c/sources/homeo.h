/* A spiking controller that adapts: observation in, action out, in plain C99.
 *
 * No heap, no global state, no library but math.h. All that changes lies in a `homeo` and in the memory that it was
 * given; a `homeo_policy` is constant and can stay in flash. A robot has one `homeo` for each policy that it runs.
 *
 *     static homeo_word memory[HOMEO_WORDS(MY_POLICY_BYTES)];
 *     static homeo controller;
 *     homeo_init(&controller, &my_policy, memory, sizeof memory, 0);
 *     homeo_reset(&controller, seed);                       at the start of an episode
 *     homeo_act(&controller, observation, action);          once a control period
 *
 * The order of all sums is that of the Python package's compiled decision, so actions are equal bit for bit where the
 * compiler neither contracts products (-ffp-contract=off) nor reorders sums (no -ffast-math) and the C library rounds
 * exp, tanh and log1p alike. Shapes: D observations, K actions, T spike steps, N neurons, M remembered observations.
 */
#ifndef HOMEO_H
#define HOMEO_H

#include <stddef.h>
#include <stdint.h>

#include "homeo_observer.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef HOMEO_DOUBLE /* for tests of the algorithm: differences of rounding vanish */
typedef double homeo_real;
#else
typedef float homeo_real;
#endif

#ifndef HOMEO_MAX_LAYERS
#define HOMEO_MAX_LAYERS 8
#endif

typedef union {
    homeo_real real;
    uint64_t bits;
    void *pointer;
} homeo_word;

#define HOMEO_WORDS(bytes) (((bytes) + sizeof(homeo_word) - 1) / sizeof(homeo_word))

enum { HOMEO_REGULAR, HOMEO_POISSON, HOMEO_BERNOULLI, HOMEO_CONSTANT };
enum { HOMEO_CURRENT_LIF, HOMEO_IF, HOMEO_LIF, HOMEO_LIF_PLAIN };
enum { HOMEO_POPULATION, HOMEO_MEAN, HOMEO_LAST, HOMEO_MEMBRANE };
enum { HOMEO_CLIP, HOMEO_TANH, HOMEO_IDENTITY, HOMEO_CHOICE, HOMEO_BINS };
enum { HOMEO_BCM = 1, HOMEO_ENERGY = 2 };
enum { HOMEO_FORM_NONE, HOMEO_FORM_BIAS, HOMEO_FORM_GAIN, HOMEO_FORM_DELTA, HOMEO_FORM_BEST };

/* What form "best" kept of a layer after a sleep. */
enum { HOMEO_KEEP, HOMEO_MODEL, HOMEO_SPIKES, HOMEO_RIDGE, HOMEO_DELTA };

/* What functions return. HOMEO_OK and HOMEO_PASSED are good news, HOMEO_BUSY asks for another slice. */
enum {
    HOMEO_OK = 0,
    HOMEO_PASSED = 0,
    HOMEO_BUSY = 1,
    HOMEO_FAILED = 2,      /* the self-test: a layer answers otherwise than it did */
    HOMEO_DUE = 3,         /* homeo_observe: a rehearsal has slices left */
    HOMEO_NOT_FINITE = -1, /* an observation is not finite or beyond 1e15; nothing has changed */
    HOMEO_NO_MEMORY = -2,  /* less memory than homeo_memory(), or not aligned as a homeo_word */
    HOMEO_NOT_READY = -3,  /* no homeo_init, or no homeo_reset since */
    HOMEO_ABSENT = -4,     /* the policy was exported without this part, or homeo_init without HOMEO_WRITABLE */
    HOMEO_RANGE = -5       /* no such layer, neuron or input, or a number that is not finite */
};

/* Flags of homeo_init. HOMEO_WRITABLE: weights are copied into memory, so that homeo_damage_* can change them.
 * HOMEO_UNOBSERVED: an observer is left out. */
enum { HOMEO_WRITABLE = 1, HOMEO_UNOBSERVED = 2 };

enum { HOMEO_ALIVE, HOMEO_DEAD, HOMEO_STUCK };

typedef struct {
    int32_t inputs, size;
    const homeo_real *weight;  /* [inputs][size]: all synapses of one input in a row */
    const homeo_real *bias;    /* [size] */
    const homeo_real *initial; /* [size], potentials that membranes begin with, or null for 0 */
    homeo_real tau;            /* spike steps, of neurons that leak */
    const homeo_real *rate, *square, *reference; /* [size]: calibrated mean and mean square, c0; null without BCM */
    homeo_real eta, bound, guard; /* learning rate, bound of abs(delta), largest norm of delta */
    const uint8_t *answer;        /* [M][(T size + 7) / 8] remembered spikes as bits; null where it does not fire */
    const homeo_real *target;     /* [M][size] remembered mean potentials; null where it fires */
    const homeo_real *potential;  /* [M][T][size] remembered potentials, of form "best" in the place of `target` */
    const uint8_t *copy;          /* [inputs + 1][size] cells of the weights, `bits` each, the biases last, or null */
    const homeo_real *copy_scale; /* [size] largest absolute weight of a neuron */
} homeo_layer;

/* A sensor event: at least `least` of the entries lie above (or below) a level. */
typedef struct {
    const int32_t *entry;
    int32_t entries, least, above;
    homeo_real level;
} homeo_event;

enum { HOMEO_INHIBIT, HOMEO_CLAMP, HOMEO_OVERRIDE };

/* What becomes of the action while an output of the reflex spikes. */
typedef struct {
    int32_t output, kind, keep_difference, entries;
    const int32_t *entry;
    homeo_real low, high;     /* of a clamp */
    const homeo_real *values; /* [entries] of an override */
} homeo_gate;

enum { HOMEO_SOFT, HOMEO_HARD, HOMEO_SOFT_NEXT };

/* A compiled network beside the policy, one spike step a decision; it has the last word on the action. */
typedef struct {
    int32_t lines, neurons, taps, stages, gates, reach, reset;
    homeo_real beta;
    const homeo_real *weight; /* [neurons][taps] */
    const int32_t *place;     /* [taps] of [this step, one step back, ...], each of clock, lines and neurons */
    const int32_t *stage;     /* [neurons] order within a step */
    const homeo_event *event; /* [lines] */
    const homeo_gate *gate;   /* [gates] in their order; `output` is a neuron */
} homeo_reflex;

/* PCG64 (XSL RR 128/64), the generator of numpy.random.default_rng(seed). */
typedef struct {
    uint64_t state_high, state_low, increment_high, increment_low;
    uint32_t kept, has_kept;
} homeo_random;

typedef struct homeo homeo;

enum { HOMEO_WINDOW = 30, HOMEO_COMPARED = 8 }; /* steps of a remembered sequence, and those whose actions are compared */

/* What is known of healthy senses: a forward model, and W clean sequences on which faults are rehearsed. */
typedef struct {
    const homeo_forward *forward;
    int32_t explains;               /* 0: the model explains too little, so there are alarms but no estimates */
    int32_t windows;                /* W */
    int32_t row, numbers, floats;   /* homeo_observer_row, _numbers and _floats */
    double margin;                  /* an estimate brings actions closer than this share of their distance without it */
    const float *truth, *executed;  /* [W][HOMEO_WINDOW][D] observations and [W][HOMEO_WINDOW][K] actions, or null */
    const homeo_real *wanted;       /* [W][HOMEO_COMPARED][K] the healthy policy's actions, in [-1, 1], or null */
    const uint64_t *draws;          /* [4][W][2] generators at the start of each sequence, high half first, or null */
    uint64_t increment[2], encoder; /* of these generators, and the seed of the encoder in rehearsals */
    const homeo_real *(*perceive)(homeo *h, const homeo_real *observation); /* homeo_perceive: linked where it is used */
} homeo_senses;

typedef struct {
    int32_t inputs, outputs, actions, layers, steps, width; /* D, outputs of the network, K, layers, T, lines */
    int32_t encoder, neuron, hard, readout, squash, bins, episode_membranes;
    homeo_real current_decay, voltage_decay, threshold, span, gain;
    const homeo_real *shift, *scale; /* [D] of the normaliser; null: observations are used as they are */
    homeo_real clip;
    const homeo_real *mean, *std;                    /* [width] of receptive fields, or null */
    const homeo_real *readout_weight, *readout_bias; /* [N last], [outputs], or null */
    const homeo_real *low, *high, *middle, *half;    /* [K] in units of the action space; null for a choice */
    const homeo_real *values;                        /* [bins] in [-1, 1], or null */
    const homeo_layer *layer;
    int32_t rules; /* HOMEO_BCM, HOMEO_ENERGY */
    homeo_real zeta, window, psi, energy;
    int32_t sleeps, form, passes, every, rest, observations; /* sleeps: whether there is a memory to test against */
    homeo_real tolerance;
    const uint8_t *train;     /* [M][(T width + 7) / 8] what the encoder sends; null for graded inputs */
    const homeo_real *inputs_remembered; /* [M][width] graded inputs, or null */
    homeo_real explained, deleted; /* of form "best": distances from what is remembered up to which a simple model, and one
                                    * of lost synapses, are not fitted further */
    int32_t dreams, bits;     /* imagined observations and bits of a copied weight, of form "best" */
    const uint8_t *dream;     /* [dreams][(T width + 7) / 8] what the encoder sends for them, or null */
    const homeo_real *inputs_dreamed; /* [dreams][width] the same where inputs are graded, or null */
    int32_t rates, rehearsals; /* learning rates that a rehearsal tries, and passes of each; 0: BCM is always open */
    const homeo_real *rate;    /* [rates] */
    homeo_real least, eta_awake;
    const homeo_reflex *reflex; /* or null */
    const homeo_real *healthy; /* [M][outputs or K] actions of the healthy network, in [-1, 1] */
    const homeo_senses *senses; /* of an observer, or null */
} homeo_policy;

/* What a network runs with; pointers of absent parts are null. */
typedef struct {
    const homeo_real *weight[HOMEO_MAX_LAYERS], *bias[HOMEO_MAX_LAYERS];
    homeo_real *delta[HOMEO_MAX_LAYERS], *mean[HOMEO_MAX_LAYERS], *square[HOMEO_MAX_LAYERS];
    homeo_real *energy[HOMEO_MAX_LAYERS];
    homeo_real *current[HOMEO_MAX_LAYERS], *potential[HOMEO_MAX_LAYERS], *spikes[HOMEO_MAX_LAYERS];
    homeo_real eta; /* of rehearsing BCM; 0 is shut */
    int32_t grown;  /* whether a delta may differ from 0 */
    int32_t rested; /* whether every decision begins at rest, with all neurons alive: the healthy network of a rehearsal */
} homeo_net;

typedef struct {
    uint16_t *place; /* [T][widest + 1] neurons that fire */
    int32_t *count;  /* [T] */
} homeo_events;

typedef struct {
    int32_t kind, phase, layer, stage, pass, passes, observation;
    homeo_real total, base_error, base_offset, factor, best_factor, best_error, center_factor, largest;
    homeo_real first_parts[2], best_distance;
    int32_t rate, chosen, replaying;
    int32_t count, first; /* slices of a sweep; where judging begins */
    int32_t candidate, fit, start, best_start, writes, kept[HOMEO_MAX_LAYERS]; /* of form "best" */
    homeo_real least, first_distance, share, first_factor, factors[2];
} homeo_job;

/* A verdict on what the policy gets, and the rehearsal that it waits for. */
typedef struct {
    homeo_random draw[3]; /* normal and other numbers, and whether a reading is lost */
    double total[2], margin;
    int64_t alarm, openings, used; /* decisions when the alarm began; uses that began; decisions with something used */
    int32_t alarmed, observed;     /* whether there was an alarm, and whether homeo_observe saw the next decision */
    int32_t phase, kind, asked, supported, window, step, part, spare;
} homeo_verdict;

/* What an observer works on; null without one. */
typedef struct {
    double *row, *judged, *rehearsed; /* [F] of the episode, when a verdict became due, and of a sequence */
    double *full, *first;             /* scratch, and [2][D] draws that hold for a whole sequence */
    float *work, *last, *out, *now;   /* scratch; [K] the last action; [D] estimate, and measurement */
    float *measured, *estimate;       /* [D] of a rehearsal */
    homeo_real *seen;                 /* [D] what the policy gets */
    homeo_verdict *verdict;
} homeo_observed;

/* What homeo_read_alarm finds. */
typedef struct {
    int32_t open;     /* whether measurements are not what the model expects */
    int32_t since;    /* decisions since then */
    int32_t lag;      /* identified latency in decisions */
    int32_t used;     /* what the policy gets: HOMEO_NOTHING (the measurement), HOMEO_ESTIMATE, HOMEO_WITHOUT_... */
    int32_t due;      /* whether a rehearsal has slices left */
    const double *rejected, *shift; /* [D] share of disagreements; mean of measurement less estimate, in deviations */
} homeo_alarm;

struct homeo {
    const homeo_policy *policy;
    const homeo_senses *senses; /* the policy's, or null: no observer */
    int32_t flags, ready;
    homeo_net live, trial;
    homeo_real *weight[HOMEO_MAX_LAYERS], *bias[HOMEO_MAX_LAYERS]; /* writable copies, or null */
    homeo_real *next_weight[HOMEO_MAX_LAYERS], *next_bias[HOMEO_MAX_LAYERS]; /* what sleep works on, or null */
    uint8_t *flag[HOMEO_MAX_LAYERS]; /* [size] HOMEO_ALIVE, HOMEO_DEAD or HOMEO_STUCK, or null */
    uint8_t *answer[HOMEO_MAX_LAYERS]; /* how layers answered after the last sleep, as homeo_layer.answer */
    homeo_real *target[HOMEO_MAX_LAYERS];
    homeo_real *reflex_potential, *reflex_past; /* [neurons], [1 + reach][clock, lines, neurons] */
    homeo_real *push, *sums; /* [widest layer], and eight rows of the widest vector */
    homeo_real *model[HOMEO_MAX_LAYERS]; /* [inputs + 1][size] what the healthy layers were like; this and the rest is
                                          * of form "best" */
    uint8_t *dream[HOMEO_MAX_LAYERS];    /* [dreams][(T size + 7) / 8] what they answer in dreams */
    homeo_real *dream_potential;         /* [dreams][T][size] of a last layer that does not fire */
    homeo_real *fit, *ahead, *direction, *gram, *path[2]; /* of one layer: matrices [inputs + 1][size], a triangle
                                                           * [inputs + 1], and potentials [T][size] */
    int32_t kept[HOMEO_MAX_LAYERS];      /* the candidate that each layer kept in the last sleep */
    uint8_t *received[2];
    homeo_real *rate, *output, *scratch; /* mean rates [width + all N], outputs, nine rows of the widest vector */
    homeo_events events[2];
    int32_t widest;
    homeo_observed observed;
    homeo_random random;
    homeo_job job;
    homeo_real change[HOMEO_MAX_LAYERS];
    int64_t decisions, awake, age;
    int32_t sleep_count, rolled_back, tested;
};

/* Bytes of memory that a policy needs with these flags. */
size_t homeo_memory(const homeo_policy *policy, int flags);

/* Lay out `bytes` of memory, which must outlive the state. Weights are the trained ones; homeo_reset must follow.
 * Returns HOMEO_OK or HOMEO_NO_MEMORY. */
int homeo_init(homeo *h, const homeo_policy *policy, homeo_word *memory, size_t bytes, int flags);

/* Begin an episode: trained weights, membranes at rest, no adaptation, randomness of numpy.random.default_rng(seed). */
int homeo_reset(homeo *h, uint64_t seed);

/* Begin an episode with the weights as they are: damage and what sleep repaired stay. What a rehearsal learned is
 * forgotten, so where the mechanism rehearses, a self-test is due and compares with the healthy network again. */
int homeo_restart(homeo *h, uint64_t seed);

/* Decide: observation [D] in, action [K] out in the units of the action space (a choice is an index), and adapt.
 * Returns HOMEO_OK, HOMEO_NOT_READY or HOMEO_NOT_FINITE, after which the action is untouched. */
int homeo_act(homeo *h, const homeo_real *observation, homeo_real *action);

/* Mean rates [N] of a layer in the last decision; layer -1 is the encoder. Null: there is no such layer. */
const homeo_real *homeo_rates(const homeo *h, int layer);

/* Whether a self-test is due before the next decision, by the schedule of the exported mechanism. */
int homeo_selftest_due(const homeo *h);

/* Compare every layer with what it remembers. Returns HOMEO_PASSED, HOMEO_FAILED or HOMEO_ABSENT;
 * h->change[layer] has the mean absolute change of its outputs. */
int homeo_selftest(homeo *h);

/* The same in slices of one remembered observation in one layer: homeo_selftest_start, then homeo_selftest_step until
 * it returns something else than HOMEO_BUSY. homeo_act may be called in between. */
int homeo_selftest_start(homeo *h);
int homeo_selftest_step(homeo *h);

/* Sleep in slices: homeo_sleep_start, then homeo_sleep_step until it returns something else than HOMEO_BUSY. A slice
 * costs at most one remembered observation in one layer (where actions are compared, one decision; in a fit, two answers
 * of a layer, or one row of a triangular system) and one pass over the weights of the largest layer. homeo_act may be
 * called in between and acts with the weights of before; with the last slice the repaired ones are in their place, all
 * at once. homeo_damage_* and homeo_reset end a sleep without effect. */
int homeo_sleep_start(homeo *h);
int homeo_sleep_step(homeo *h);

/* All slices in a row. */
int homeo_sleep(homeo *h);

/* What the Python session does before a decision: test if it is due, and sleep if the test fails.
 * Returns 1 if it slept, else 0, or an error. */
int homeo_maybe_sleep(homeo *h);

/* See the measurement [D] of the next decision, before homeo_act, which does it itself where it was not done. Returns
 * HOMEO_OK; HOMEO_DUE where a verdict waits for a rehearsal: whether an estimate takes the place of the measurement;
 * HOMEO_ABSENT without an observer; else as homeo_act. */
int homeo_observe(homeo *h, const homeo_real *observation);

/* A slice of the rehearsal: one step of one remembered sequence (a decision of an open gate), or one decision of the
 * policy. Returns HOMEO_BUSY until the last one, which puts the verdict in place: it judges the state in which it became
 * due, and until then the one of before holds. HOMEO_OK: nothing is left. */
int homeo_rehearse_step(homeo *h);

/* All slices in a row. homeo_observe, homeo_rehearse and homeo_act do what the Python session does in a decision. */
int homeo_rehearse(homeo *h);

/* What homeo_act calls through the policy: observe where it was not done, and return what the policy gets. */
const homeo_real *homeo_perceive(homeo *h, const homeo_real *observation);

/* What the observer found, after homeo_observe or homeo_act. Returns HOMEO_OK, HOMEO_NOT_READY or HOMEO_ABSENT. */
int homeo_read_alarm(const homeo *h, homeo_alarm *alarm);

/* Damage, for tests; each needs HOMEO_WRITABLE, which policies that sleep imply. A next self-test becomes due. */
int homeo_damage_weight(homeo *h, int layer, int neuron, int input, homeo_real value);
int homeo_damage_bias(homeo *h, int layer, int neuron, homeo_real value);
int homeo_damage_neuron(homeo *h, int layer, int neuron, int what);
/* Set each weight of a layer to 0 with this probability; draws are those of numpy.random.default_rng(seed).random(
 * n, dtype=float32) for the synapses of input 0, then of input 1, ... */
int homeo_damage_synapses(homeo *h, int layer, homeo_real probability, uint64_t seed);

/* The generator by itself. */
void homeo_random_seed(homeo_random *random, uint64_t seed);
uint64_t homeo_random_word(homeo_random *random);  /* 64 bits */
uint32_t homeo_random_bits(homeo_random *random);  /* 32 bits: halves of a word, the low one first */
float homeo_random_float(homeo_random *random);    /* in [0, 1), a multiple of 2^-24 */
double homeo_random_double(homeo_random *random);  /* in [0, 1), a multiple of 2^-53 */
double homeo_random_normal(homeo_random *random);  /* numpy's standard_normal */

#ifdef __cplusplus
}
#endif

#endif
