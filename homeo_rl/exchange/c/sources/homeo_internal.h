/* What the files of the controller share; not for users. */
#ifndef HOMEO_INTERNAL_H
#define HOMEO_INTERNAL_H

#include <math.h>

#include "homeo.h"

#define R(x) ((homeo_real)(x))
#define MIN(a, b) ((b) < (a) ? (b) : (a))
#define MAX(a, b) ((b) > (a) ? (b) : (a))

#ifdef HOMEO_DOUBLE
#define EXP exp
#define LOG1P log1p
#define TANH tanh
#define SQRT sqrt
#define POW pow
#define ABS fabs
#else
#define EXP expf
#define LOG1P log1pf
#define TANH tanhf
#define SQRT sqrtf
#define POW powf
#define ABS fabsf
#endif

/* Rows of `scratch`, each of `widest` numbers. */
enum { ROW_Z, ROW_ACTIVITY, ROW_PRODUCT, ROW_BEFORE, ROW_THRESHOLD, ROW_U, ROW_V, ROW_S, ROW_TOTAL, SCRATCH_ROWS };

/* Rows of `sums`, for self-tests and sleep. */
enum { SUM_MEAN, SUM_SPREAD, SUM_WANTED, SUM_WANTED_SPREAD, SUM_INPUT, SUM_DIRECTION, SUM_IMAGE, SUM_OUT, SUM_ROWS };

enum { HOMEO_FORCED_STEPS = 16 }; /* longer spike trains are not fitted, as in Python */

enum { JOB_NONE, JOB_TEST, JOB_SLEEP };

enum {
    PHASE_TEST, PHASE_BASE, PHASE_SCALE, PHASE_BIAS, PHASE_INPUTS, PHASE_DIRECTION, PHASE_POWER, PHASE_DELTA,
    PHASE_SPREAD, PHASE_CHECK, PHASE_SEND, PHASE_ANSWER, PHASE_REHEARSE, PHASE_COMMIT,
    PHASE_MODEL_NOW, PHASE_MODEL_SCALE, PHASE_MODEL_WRITE, PHASE_MODEL_START, PHASE_MODEL_TEST, PHASE_DREAM, PHASE_JUDGE,
    PHASE_FIT, PHASE_GRAM, PHASE_FACTOR, PHASE_GRADIENT, PHASE_FORWARD, PHASE_BACKWARD, PHASE_PROJECT, PHASE_TURN,
    PHASE_LINE, PHASE_MOVE, PHASE_RESIDUAL, PHASE_AIM, PHASE_IMAGE, PHASE_STEP, PHASE_AIM_AGAIN
};

/* Models are fitted by the synapses that are lost, then by all; candidates to spikes, or to currents. FIT_CENTRE only
 * writes what changes are counted from. */
enum { FIT_NONE, FIT_LOST, FIT_ALL, FIT_CENTRE, FIT_SPIKES, FIT_RIDGE };

/* What a layer answers with. */
typedef struct {
    const homeo_real *weight, *bias;
    const uint8_t *flag;      /* null: all neurons are alive */
    homeo_real scale, share;  /* of weights, and of biases */
    homeo_real *path;         /* [T][size] receives potentials, or null */
} homeo_played;

/* One layer in one decision, or in one remembered observation. */
typedef struct {
    const homeo_policy *policy;
    const homeo_layer *layer;
    const homeo_real *weight, *bias, *delta;
    const uint8_t *flag;
    homeo_real *u, *v, *s, *energy;
    homeo_real scale, share;   /* of weights, and of biases; 1 but in the searches of sleep */
    const homeo_real *graded;  /* [inputs], or null where inputs are events */
    const homeo_events *in;
    homeo_events *out;
    homeo_real *rate;      /* [size] receives spike counts */
    homeo_real *potential; /* [size] receives sums of potentials over the steps, or null */
    homeo_real *path;      /* [T][size] receives potentials before firing, or null */
    const homeo_events *forced; /* spikes that the layer is made to fire, or null */
    int linear;                 /* whether resets subtract nothing: what currents add to forced potentials */
    int fires;
    int32_t widest;
} homeo_run;

int homeo_fires(const homeo_policy *policy, int layer);
void homeo_run_layer(const homeo_run *run, homeo_real *scratch);
void homeo_rest(const homeo_layer *l, homeo_real *u, homeo_real *v, homeo_real *s);
void homeo_decide(homeo *h, homeo_net *net, homeo_real *output);
const homeo_real *homeo_act_healthy(homeo *h, const float *observation, uint64_t seed); /* the action [K], in scratch */
int homeo_is_measurement(const homeo *h, const homeo_real *observation);
void homeo_begin_adaptation(const homeo *h, homeo_net *net, int layer);
void homeo_spread(const homeo_events *events, int32_t t, int32_t widest, homeo_real *s, int32_t size);
void homeo_read_out(const homeo_policy *p, const homeo_real *count, const homeo_real *s, const homeo_real *v,
                    homeo_real *y);
void homeo_squash(const homeo_policy *p, const homeo_real *y, homeo_real *action);
void homeo_clear_rates(homeo *h);
void homeo_act_reflex(homeo *h, const homeo_real *observation, homeo_real *action);
void homeo_rest_reflex(homeo *h);
int homeo_finite(const homeo_real *values, size_t count);

/* Replays (homeo_replay.c). `repaired`: from the layers before as they are repaired, else as they are remembered or, in
 * observations from M on, as the healthy models dream. `turn`: which of `events` is heard; the other receives spikes. */
homeo_real *homeo_row(const homeo *h, int which);
void homeo_unpack(const homeo *h, const uint8_t *bits, int32_t width, homeo_events *events);
void homeo_pack(const homeo *h, const homeo_events *events, int32_t width, uint8_t *bits);
const homeo_real *homeo_receive(homeo *h, int layer, int32_t m, int repaired, homeo_events *events);
homeo_run homeo_replay(homeo *h, int layer, const homeo_played *played, const homeo_real *graded, int turn,
                       homeo_real *out);
homeo_real homeo_remembered(const homeo *h, int layer, int32_t m, int32_t n, int own);
homeo_real homeo_able(const homeo *h, int layer, int32_t n);
homeo_real homeo_unit_action(const homeo_policy *p, const homeo_real *action, const homeo_real *output, int32_t k);
void homeo_enter(homeo *h, int phase, int32_t passes);
void homeo_sweep(homeo *h, int phase, int32_t count);
void homeo_begin_layer(homeo *h, int layer);
void homeo_after_layer(homeo *h);

/* The competition of form "best" (homeo_compete.c), and the fits of its candidates (homeo_fit.c). */
void homeo_begin_competition(homeo *h);
void homeo_begin_candidates(homeo *h, int layer);
void homeo_compete_step(homeo *h);
void homeo_after_compete(homeo *h);
void homeo_judge_fit(homeo *h);
void homeo_begin_fit(homeo *h, int kind);
void homeo_fit_step(homeo *h);
int homeo_after_fit(homeo *h);

static inline size_t homeo_row_bytes(const homeo_policy *p, int32_t width)
{
    return ((size_t)p->steps * (size_t)width + 7u) / 8u;
}

#endif
