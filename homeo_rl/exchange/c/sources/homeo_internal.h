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

/* One layer in one decision, or in one remembered observation. */
typedef struct {
    const homeo_policy *policy;
    const homeo_layer *layer;
    const homeo_real *weight, *bias, *delta;
    const uint8_t *flag;
    homeo_real *u, *v, *s, *energy;
    homeo_real scale;          /* of weights and biases; 1 but in the search of sleep */
    const homeo_real *graded;  /* [inputs], or null where inputs are events */
    const homeo_events *in;
    homeo_events *out;
    homeo_real *rate;      /* [size] receives spike counts */
    homeo_real *potential; /* [size] receives sums of potentials over the steps, or null */
    int fires;
    int32_t widest;
} homeo_run;

int homeo_fires(const homeo_policy *policy, int layer);
void homeo_run_layer(const homeo_run *run, homeo_real *scratch);
void homeo_rest(const homeo *h, const homeo_net *net, int layer);
void homeo_decide(homeo *h, homeo_net *net, homeo_real *output);
void homeo_begin_adaptation(const homeo *h, homeo_net *net, int layer);
void homeo_squash(const homeo_policy *p, const homeo_real *y, homeo_real *action);
void homeo_clear_rates(homeo *h);
void homeo_act_reflex(homeo *h, const homeo_real *observation, homeo_real *action);
void homeo_rest_reflex(homeo *h);
int homeo_finite(const homeo_real *values, size_t count);

static inline size_t homeo_row_bytes(const homeo_policy *p, int32_t width)
{
    return ((size_t)p->steps * (size_t)width + 7u) / 8u;
}

#endif
