// Whole epochs in one launch: a team for each model, a block or a warp, whose parameters never leave shared memory.
//
// A batch is taken in tiles of net::rows. If it is one tile, and the norm of the gradient is not clipped, each gradient
// goes straight into the update of its parameter (net::direct); else gradients are summed in shared memory first.
#include "fused/fetch.cuh"
#include "fused/tile.cuh"
#include "fused/update.cuh"

namespace tinynet {

using FetchX = Fetch<Real, net::rows, net::n_in, net::x_stride>;
using FetchT = Fetch<Target, net::rows, net::n_targets, net::n_targets>;
using FetchWeight = Fetch<Real, net::rows, 1, 1>;

/// Whether a thread can hold its share of the next tile while it works.
constexpr bool fetches_ahead = FetchX::slots + FetchT::slots + FetchWeight::slots <= Team::slots;

/// The two halves of shared memory that tiles are put in, in turn.
struct Tile {
    Real *x, *weight;
    Target* t;

    __device__ __forceinline__ explicit Tile(int half)
        : x(shared(net::at_x + half * net::x_size)),
          weight(shared(net::at_weight + half * net::weight_size)),
          t(reinterpret_cast<Target*>(shared(net::at_t + half * net::t_size))) {}
};

/// Where in the epochs a team stands: the next tile.
struct Cursor {
    Index epoch, update, start;  // of the tile, in its epoch
    Index batch_start, n_visits, batch;

    __device__ __forceinline__ Index batch_end() const { return min(batch_start + batch, n_visits); }
    __device__ __forceinline__ int rows() const { return int(min(batch_end() - start, Index(net::rows))); }
    __device__ __forceinline__ bool begins_batch() const { return start == batch_start; }
    __device__ __forceinline__ bool ends_batch() const { return start + rows() == batch_end(); }
    __device__ __forceinline__ bool ends_epoch() const { return start + rows() == n_visits; }

    __device__ __forceinline__ void advance() {
        const bool batch_ends = ends_batch(), epoch_ends = ends_epoch();
        start = epoch_ends ? 0 : start + rows();
        update = epoch_ends ? 0 : update + batch_ends;
        batch_start = batch_ends ? start : batch_start;
        epoch += epoch_ends;
    }
};

/// A data set as one model sees it.
struct Data {
    const Real* x;
    const Target* t;
    const Real* weight;
    const Index* order;  // an epoch is order_step further than the one before
    Index order_step;

    __device__ __forceinline__ Rows rows(const Cursor& at) const {
        return {order ? order + at.epoch * order_step : nullptr, at.start, at.rows()};
    }
    __device__ __forceinline__ void copy(const Cursor& at, const Tile& tile) const {
        const Rows wanted = rows(at);
        FetchX::copy(wanted, x, tile.x);
        FetchT::copy(wanted, t, tile.t);
        if constexpr (net::weighted) {
            FetchWeight::copy(wanted, weight, tile.weight);
        }
    }
};

/// The next tile, in the registers of the threads.
struct Ahead {
    FetchX x;
    FetchT t;
    FetchWeight weight;

    __device__ __forceinline__ void locate(Rows wanted) {
        x.locate(wanted);
        t.locate(wanted);
        if constexpr (net::weighted) {
            weight.locate(wanted);
        }
    }
    __device__ __forceinline__ void load(const Data& data) {
        x.load(data.x);
        t.load(data.t);
        if constexpr (net::weighted) {
            weight.load(data.weight);
        }
    }
    __device__ __forceinline__ void store(const Tile& tile) const {
        x.store(tile.x);
        t.store(tile.t);
        if constexpr (net::weighted) {
            weight.store(tile.weight);
        }
    }
};

/// How much the norm of the gradient in shared memory is shrunk; the gradient is clipped by value on the way.
__device__ Real shrinkage_of(Real* gradients, const Update& update, double max_norm) {
    SquaredNorm sum;
    parameters_from<0>([&](int, int place) {
        gradients[place] = update.within_limit(gradients[place]);
        sum.add(gradients[place]);
    });
    Team::sum(sum.squares);
    return Real(shrinkage(sum.norm(), max_norm));
}

/// Train the models `members`, one a team, for updates first_update to last_update of the epochs in `order`.
///
/// members : (n_members,) numbers of models, of n_models that there are
/// parameters : (n_models, n_parameters); moments : (n_moments, n_models, n_parameters); held : (n_models, n_held)
/// x : (n_samples, n_in); t : (n_samples, n_targets); weight : (n_samples,), or own_weight: (n_models, n_samples)
/// order : (n_epochs, n_visits), or own_order is 1: (n_epochs, n_members, n_visits), or -1: there is none, and rows are
///     taken as they lie (CuPy before 14 passes no null pointer)
/// rates : (n_epochs, n_rates), or own_rates: (n_epochs, n_rates, n_members)
/// numbers : (n_models, net::n_numbers); counters : (n_models, 3), of each the updates and draws before the first update
///     of the first epoch, and the seed of its dropout masks
/// losses : (n_epochs, n_members), to which the sums over the samples are added
__global__ void __launch_bounds__(net::threads * net::models, net::blocks) persistent(
    Real* parameters, Real* moments, const Real* held, const Real* x, const Target* t, const Real* weight,
    const Index* order, const double* rates, const double* numbers, const unsigned long long* counters, double* losses,
    const Index* members, Index n_models, Index n_members, Index n_samples, Index n_visits, Index batch, Index n_rates,
    int own_weight, int own_order, int own_rates, Index first_update, Index last_update) {
    __shared__ Rates shared_rates[net::models];
    const Index member = Team::number();
    if (net::models > 1 && member >= n_members) {
        return;  // A warp of the last block, for which no model is left. Teams never wait for one another.
    }
    const Index model = members[member];
    const Index n_updates = (n_visits + batch - 1) / batch;  // in an epoch

    numbers += model * net::n_numbers;
    counters += model * 3;
    parameters += model * net::n_parameters;
    moments += model * net::n_parameters;
    const Index moment_step = n_models * net::n_parameters;
    const Data data{
        x, t, own_weight ? weight + model * n_samples : weight,
        own_order < 0 ? nullptr : order + (own_order ? member * n_visits : 0),
        own_order ? n_members * n_visits : n_visits};

    Real* const p = shared(net::at_parameters);
    Real* const g = shared(net::at_gradients);
    Real* const m = net::moments_shared ? shared(net::at_moments) : moments;
    parameters_from<0>([&](int flat, int place) {
        p[place] = parameters[flat];
        if constexpr (net::moments_shared) {
            for (int k = 0; k < net::n_moments; ++k) {
                m[k * net::copy_size + place] = moments[k * moment_step + flat];
            }
        }
    });
    for (int k = Team::rank(); k < net::n_held; k += Team::size) {
        shared(net::at_held)[k] = held[model * net::n_held + k];
    }

    Dropout dropouts[net::n_dropouts + 1];
#pragma unroll
    for (int k = 0; k < net::n_dropouts; ++k) {
        const double rate = numbers[net::first_rate + k];
        dropouts[k] = {Word(rate * 4294967296.0), Real(1 / (1 - rate))};
    }
    const Factors factors(net::scale, n_visits, batch);
    Update update(numbers);
    Clock clock(numbers, Index(counters[0]) + first_update);
    Pass pass{};
    pass.memory = shared(net::at_memory);
    pass.held = shared(net::at_held);
    pass.dropouts = dropouts;
    pass.parameter = Real(numbers[net::parameter]);
    pass.seed = counters[2];
    pass.draw = counters[1] + first_update;

    // Gradients go to the parameters, or are summed up to the end of the batch.
    const auto change = [&](int flat, int place, Real gradient) {
        const int at = net::moments_shared ? place : flat;
        update(p[place], gradient, m + at, net::moments_shared ? Index(net::copy_size) : moment_step);
    };

    const Index update_of_epoch = first_update % n_updates, start = update_of_epoch * batch;
    Cursor at{first_update / n_updates, update_of_epoch, start, start, n_visits, batch};
    Ahead ahead;
    int half = 0;
    if constexpr (fetches_ahead) {
        data.copy(at, Tile(half));
        Team::sync();
    }
    for (Index number = first_update; number < last_update;) {
        const Tile tile(half);
        const Cursor now = at;
        at.advance();
        const int rows = now.rows();
        const bool more = number + now.ends_batch() < last_update;
        if constexpr (fetches_ahead) {
            if (more) {
                ahead.locate(data.rows(at));
            }
        } else {
            data.copy(now, tile);
            Team::sync();
        }
        if (Team::rank() == 0 && now.begins_batch()) {
            const Index place = now.epoch * n_rates + min(now.update, n_rates - 1);
            shared_rates[Team::place()] = clock.next(own_rates ? rates[place * n_members + member] : rates[place]);
        }
        pass.x = tile.x;
        pass.t = tile.t;
        pass.weight = tile.weight;
        pass.first_row = now.start - now.batch_start;
        pass.factor = now.batch_end() - now.batch_start == batch ? factors.whole : factors.last;
        up_and_down(pass, p, rows);
        if constexpr (fetches_ahead) {
            if (more) {
                ahead.load(data);
            }
        }
        update.rates = shared_rates[Team::place()];
        if constexpr (net::direct) {
            gradients_from<0>(pass, rows, [&](int flat, int place, Real gradient) {
                change(flat, place, update.within_limit(gradient));
            });
        } else {
            const bool first = now.begins_batch();
            gradients_from<0>(pass, rows, [&](int, int place, Real gradient) {
                g[place] = first ? gradient : g[place] + gradient;
            });
            if (now.ends_batch()) {
                Team::sync();
                if constexpr (net::clips_norm) {
                    update.shrink = shrinkage_of(g, update, numbers[net::clip_norm]);
                }
                parameters_from<0>([&](int flat, int place) { change(flat, place, update.within_limit(g[place])); });
            }
        }
        if (now.ends_batch()) {
            ++number;
            ++pass.draw;
        }
        if (now.ends_epoch() || number == last_update) {
            const double total = team_sum(pass.total);
            if (Team::rank() == 0) {
                losses[now.epoch * n_members + member] += total;
            }
            pass.total = 0;
        }
        if constexpr (fetches_ahead) {
            if (more) {
                half = 1 - half;
                ahead.store(Tile(half));
            }
        }
        Team::sync();
    }

    parameters_from<0>([&](int flat, int place) {
        parameters[flat] = p[place];
        if constexpr (net::moments_shared) {
            for (int k = 0; k < net::n_moments; ++k) {
                moments[k * moment_step + flat] = m[k * net::copy_size + place];
            }
        }
    });
}

}  // namespace tinynet
