// What fused kernels know of a network while they are compiled: sizes, kinds, and where everything lies.
//
// After this file comes a text that prelude.py writes for each network. It specialises Stage for 0 to n_stages - 1 and
// fills the namespace `net`; every array index in the kernels is then a constant, and loops over a layer can unroll.
//
// Where a kernel has its sizes as an argument (graph.cu), net::sizes_given is true, the text has kinds only, and what
// StageSizes names is in that argument. What is in both is read by `sizes_of`, in network.cuh.
//
//     template <> struct Stage<1> {
//         op              what it does
//         n_in, n_out     widths
//         Activation      a struct of activations.cuh, which is written from the formulas; of a softmax, identity
//         softmax         whether the row goes through a softmax
//         alpha           parameter of the activation
//         bias            of a linear stage: whether there is one
//         weight_at, bias_at            places in the flat vector of parameters
//         w, ld, b        places in the kernel's own copy, and the step from a row of the weight to the next
//         held            place of the means in the flat vector of buffers; the scales follow
//         place           number of a dropout stage, part of the counter of its masks
//         rate            place of its rate among the model's numbers
//         dropout         which of the net's dropout stages it is
//         y, z, d, stride places of its output, of what its derivative needs beside, and of its gradient, for a row of
//                         samples; and the step from one row to the next
//     };
//     namespace net { ... }
#pragma once

namespace tinynet {

enum class Op { linear, activation, dropout, normalize };
enum class Optimizer { sgd, adam, adamw, rmsprop };

// Who trains a model together (team.cuh).
struct Block;
struct Warp;

template <int i>
struct Stage;

/// Sizes of a stage, and where its numbers are, as above.
struct StageSizes {
    int n_in, n_out, weight_at, held, y, z, d, stride;
};

}  // namespace tinynet
