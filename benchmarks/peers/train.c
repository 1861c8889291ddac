/* A network of one or two sigmoid layers, written for its exact sizes: squared error summed over the batch, SGD.
 *
 * N_IN, N_OUT, BATCH, REAL and, with two layers, N_HIDDEN come from the command line. The weights lie on the stack;
 * within a batch the sample is the innermost index, so that the compiler vectorises over it.
 */
#include <math.h>
#include <string.h>

#ifdef N_HIDDEN
#define N_LAST N_HIDDEN
#else
#define N_LAST N_IN
#endif

#define EACH(i, n) for (int i = 0; i < (n); i++)

/* y = sigmoid(w' x + b) */
#define LAYER(n_in, n_out, w, b, x, y)                                                    \
    EACH(j, n_out) EACH(s, BATCH) {                                                       \
        REAL a = b[j];                                                                    \
        EACH(i, n_in) a += x[i][s] * w[i][j];                                             \
        y[j][s] = a;                                                                      \
    }                                                                                     \
    EACH(j, n_out) EACH(s, BATCH) y[j][s] = 1 / (1 + exp(-y[j][s]));

/* w -= rate x dz', b -= rate dz */
#define UPDATE(n_in, n_out, w, b, x, dz)                                                  \
    EACH(i, n_in) EACH(j, n_out) {                                                        \
        REAL dw = 0;                                                                      \
        EACH(s, BATCH) dw += x[i][s] * dz[j][s];                                          \
        w[i][j] -= rate * dw;                                                             \
    }                                                                                     \
    EACH(j, n_out) {                                                                      \
        REAL db = 0;                                                                      \
        EACH(s, BATCH) db += dz[j][s];                                                    \
        b[j] -= rate * db;                                                                \
    }

/* Train; return the mean loss of a sample in the last epoch. `parameters` is w, b of each layer in turn. */
REAL train(const REAL *x, const REAL *y, REAL *parameters, long n_samples, long n_epochs, REAL rate)
{
    struct {
#ifdef N_HIDDEN
        REAL w_first[N_IN][N_HIDDEN], b_first[N_HIDDEN];
#endif
        REAL w[N_LAST][N_OUT], b[N_OUT];
    } p;
    REAL loss = 0;
    memcpy(&p, parameters, sizeof p);
    for (long epoch = 0; epoch < n_epochs; epoch++) {
        loss = 0;
        for (long start = 0; start + BATCH <= n_samples; start += BATCH) {
            REAL in[N_IN][BATCH], out[N_OUT][BATCH], d_out[N_OUT][BATCH];
            EACH(i, N_IN) EACH(s, BATCH) in[i][s] = x[(start + s) * N_IN + i];
#ifdef N_HIDDEN
            REAL hidden[N_HIDDEN][BATCH], d_hidden[N_HIDDEN][BATCH];
            LAYER(N_IN, N_HIDDEN, p.w_first, p.b_first, in, hidden)
#else
            REAL(*hidden)[BATCH] = in;
#endif
            LAYER(N_LAST, N_OUT, p.w, p.b, hidden, out)
            EACH(k, N_OUT) EACH(s, BATCH) {
                REAL d = out[k][s] - y[(start + s) * N_OUT + k];
                loss += d * d;
                d_out[k][s] = 2 * d * out[k][s] * (1 - out[k][s]);
            }
#ifdef N_HIDDEN
            EACH(j, N_HIDDEN) EACH(s, BATCH) {
                REAL a = 0;
                EACH(k, N_OUT) a += d_out[k][s] * p.w[j][k];
                d_hidden[j][s] = a * hidden[j][s] * (1 - hidden[j][s]);
            }
            UPDATE(N_IN, N_HIDDEN, p.w_first, p.b_first, in, d_hidden)
#endif
            UPDATE(N_LAST, N_OUT, p.w, p.b, hidden, d_out)
        }
    }
    memcpy(parameters, &p, sizeof p);
    return loss / n_samples;
}
