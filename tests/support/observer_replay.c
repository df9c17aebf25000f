/* Run the observer through a recorded sequence, for sanitizers: all memory is as large as it must be, and not set.
 *
 * Words: a file with D, K, H and the number of decisions (int32), the model's arrays in their order, and for each
 * decision whether an episode begins (float), the measurement and the action before it; and a file for all rows. */
#include <stdio.h>
#include <stdlib.h>

#include "homeo_observer.h"

static void *take(FILE *file, size_t size, size_t count)
{
    void *memory = malloc(size * count);

    if (memory == NULL || (file != NULL && fread(memory, size, count, file) != count)) {
        exit(1);
    }
    return memory;
}

int main(int count, char **words)
{
    FILE *in = count > 2 ? fopen(words[1], "rb") : NULL, *out = count > 2 ? fopen(words[2], "wb") : NULL;
    int32_t *dims, decision;
    size_t d, k, h, numbers;
    float *arrays[8], *step, *estimate, *work;
    double *scales, *row, *full;
    homeo_forward f;
    int part;

    if (in == NULL || out == NULL) {
        return 1;
    }
    dims = take(in, sizeof *dims, 4);
    d = (size_t)dims[0];
    k = (size_t)dims[1];
    h = (size_t)dims[2];
    {
        const size_t sizes[8] = {(d + k) * h, h, h * h, h, 2 * d * h, 2 * d, d, d};

        for (part = 0; part < 8; part++) {
            arrays[part] = take(in, sizeof(float), sizes[part]);
        }
    }
    scales = take(in, sizeof(double), 9 * d + 2 * k + 1);
    f.entries = dims[0];
    f.actions = dims[1];
    f.hidden = dims[2];
    f.w1 = arrays[0];
    f.b1 = arrays[1];
    f.w2 = arrays[2];
    f.b2 = arrays[3];
    f.w3 = arrays[4];
    f.b3 = arrays[5];
    f.change = arrays[6];
    f.calibration = arrays[7];
    f.scales = scales;
    numbers = homeo_observer_row(f.entries, f.actions);
    row = take(NULL, sizeof *row, numbers);
    full = take(NULL, sizeof *full, homeo_observer_numbers(f.entries, f.actions));
    work = take(NULL, sizeof *work, homeo_observer_floats(f.entries, f.actions, f.hidden));
    estimate = take(NULL, sizeof *estimate, d);
    step = take(NULL, sizeof *step, 1 + d + k);
    for (decision = 0; decision < dims[3]; decision++) {
        if (fread(step, sizeof *step, 1 + d + k, in) != 1 + d + k) {
            return 1;
        }
        if (step[0] > 0.0f) {
            homeo_observer_begin(&f, row);
        }
        homeo_observer_advance(&f, row, step + 1, step + 1 + d, estimate, full, work);
        homeo_observer_correct(&f, row, HOMEO_SCALES, step + 1);
        if (fwrite(row, sizeof *row, numbers, out) != numbers) {
            return 1;
        }
    }
    for (part = 0; part < 8; part++) {
        free(arrays[part]);
    }
    free(dims);
    free(scales);
    free(row);
    free(full);
    free(work);
    free(estimate);
    free(step);
    fclose(in);
    return fclose(out);
}
