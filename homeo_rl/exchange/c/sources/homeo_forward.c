/* The forward model: prediction and Jacobian. Sums run over the inputs of a unit in their order, the bias first. */
#include "homeo_observer_internal.h"

int32_t homeo_forward_width(int32_t entries, int32_t actions, int32_t hidden)
{
    int32_t width = hidden > 2 * entries ? hidden : 2 * entries;

    return width > entries + actions ? width : entries + actions;
}

static float *work_row(const homeo_forward *f, float *work, int32_t row)
{
    return work + (size_t)row * (size_t)homeo_forward_width(f->entries, f->actions, f->hidden);
}

/* Add x w to y [width], one input after the other; four in a pass, because reading and writing y takes the time. Rows of
 * w are `stride` numbers apart. */
static void accumulate(const float *x, int32_t count, const float *w, int32_t stride, int32_t width, float *restrict y)
{
    int32_t fours = count / 4 * 4, k, j;

    for (k = 0; k < fours; k += 4) {
        const float a = x[k], b = x[k + 1], c = x[k + 2], d = x[k + 3];
        const float *wa = w + (size_t)k * (size_t)stride, *wb = wa + stride, *wc = wb + stride, *wd = wc + stride;

        for (j = 0; j < width; j++) {
            y[j] = (((y[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + d * wd[j];
        }
    }
    for (k = fours; k < count; k++) {
        const float *row = w + (size_t)k * (size_t)stride;

        for (j = 0; j < width; j++) {
            y[j] += x[k] * row[j];
        }
    }
}

static void copy(const float *from, int32_t count, float *to)
{
    int32_t j;

    for (j = 0; j < count; j++) {
        to[j] = from[j];
    }
}

/* Write the activation over h [H] and its derivative to d [H]. */
static void activate(float *restrict h, float *restrict d, int32_t count)
{
    int32_t j;

    for (j = 0; j < count; j++) {
        const float u = h[j], s = 1.0f / sqrtf(1.0f + u * u), g = 0.5f * (1.0f + u * s);

        d[j] = g + 0.5f * u * s * s * s;
        h[j] = u * g;
    }
}

/* Go on from the sums of the first layer. Means are rounded to float32 before they are widened, as in Python. */
static void finish(const homeo_forward *f, const float *x, double *mean, double *variance, float *work, float *d2)
{
    float *h1 = work_row(f, work, HOMEO_WORK_H1), *h2 = work_row(f, work, HOMEO_WORK_H2);
    float *out = work_row(f, work, HOMEO_WORK_OUT);
    int32_t i, d = f->entries;

    activate(h1, work_row(f, work, HOMEO_WORK_D1), f->hidden);
    copy(f->b2, f->hidden, h2);
    accumulate(h1, f->hidden, f->w2, f->hidden, f->hidden, h2);
    activate(h2, d2, f->hidden);
    copy(f->b3, 2 * d, out);
    accumulate(h2, f->hidden, f->w3, 2 * d, 2 * d, out);
    for (i = 0; i < d; i++) {
        const double raw = (double)out[d + i];
        const float unit = f->change[i] * f->calibration[i], moved = x[i] + f->change[i] * out[i];
        const double deviation = (double)unit * (0.5 * (raw + sqrt(raw * raw + 4.0))) + 1e-3;

        mean[i] = (double)moved;
        variance[i] = deviation * deviation;
    }
}

void homeo_forward_predict(const homeo_forward *f, const float *x, double *mean, double *variance, float *work)
{
    float *h1 = work_row(f, work, HOMEO_WORK_H1);

    copy(f->b1, f->hidden, h1);
    accumulate(x, f->entries + f->actions, f->w1, f->hidden, f->hidden, h1);
    finish(f, x, mean, variance, work, work_row(f, work, HOMEO_WORK_D2));
}

/* One column at a time, so that it needs no more room than a prediction: rows of `work` that hold no derivative are free. */
void homeo_forward_jacobian(const homeo_forward *f, double *jacobian, int32_t stride, int32_t size, float *work)
{
    const float *d1 = work_row(f, work, HOMEO_WORK_D1), *d2 = work_row(f, work, HOMEO_WORK_D2);
    float *t1 = work_row(f, work, HOMEO_WORK_H1), *t2 = work_row(f, work, HOMEO_WORK_H2);
    float *out = work_row(f, work, HOMEO_WORK_OUT);
    int32_t c, i, j, d = f->entries, h = f->hidden;

    for (c = 0; c < size; c++) {
        const float *weight = f->w1 + (size_t)c * (size_t)h;

        for (j = 0; j < h; j++) {
            t1[j] = weight[j] * d1[j];
            t2[j] = 0.0f;
        }
        accumulate(t1, h, f->w2, h, h, t2);
        for (j = 0; j < h; j++) {
            t2[j] *= d2[j];
        }
        for (i = 0; i < d; i++) {
            out[i] = 0.0f;
        }
        accumulate(t2, h, f->w3, 2 * d, d, out); /* of the outputs, only the means */
        for (i = 0; i < d; i++) {
            const float slope = f->change[i] * out[i];

            jacobian[(size_t)i * (size_t)stride + (size_t)c] = (double)slope;
        }
    }
    for (i = 0; i < d && i < size; i++) {
        jacobian[(size_t)i * (size_t)stride + (size_t)i] += 1.0;
    }
}

/* Write an observation [D] and an action [K] of a row as the inputs of a prediction. */
void homeo_fill(const homeo_episode *e, const double *values, const double *action)
{
    int32_t i, k;

    for (i = 0; i < e->entries; i++) {
        e->x[i] = (float)values[i];
    }
    for (k = 0; k < e->actions; k++) {
        e->x[e->entries + k] = (float)action[k];
    }
}

void homeo_predict(const homeo_episode *e, double *mean, double *variance)
{
    homeo_forward_predict(e->model, e->x, mean, variance, e->work);
}

/* Sum what the observation in x sends, for several predictions that differ in the action. */
void homeo_prepare_lags(const homeo_episode *e)
{
    float *base = work_row(e->model, e->work, HOMEO_WORK_D2);

    copy(e->model->b1, e->model->hidden, base);
    accumulate(e->x, e->entries, e->model->w1, e->model->hidden, e->model->hidden, base);
}

/* Predict with another action. The second derivative is not needed: its row holds the sums. */
void homeo_predict_lag(const homeo_episode *e, const double *action, double *mean, double *variance)
{
    const homeo_forward *f = e->model;
    float *h1 = work_row(f, e->work, HOMEO_WORK_H1), *given = e->x + e->entries;
    int32_t k;

    copy(work_row(f, e->work, HOMEO_WORK_D2), f->hidden, h1);
    for (k = 0; k < e->actions; k++) {
        given[k] = (float)action[k];
    }
    accumulate(given, e->actions, f->w1 + (size_t)e->entries * (size_t)f->hidden, f->hidden, f->hidden, h1);
    finish(f, e->x, mean, variance, e->work, work_row(f, e->work, HOMEO_WORK_D1));
}

/* Write the Jacobian [D][size] of the last prediction to its rows of `full`. */
void homeo_differentiate(const homeo_episode *e, int32_t size)
{
    homeo_forward_jacobian(e->model, homeo_full(e, HOMEO_FULL_JACOBIAN), e->width, size, e->work);
}
