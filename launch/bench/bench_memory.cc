#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "comm/base/status_macros.h"
#include "launch/bench/bench_kernels.h"
#include "launch/bench/bench_tensors.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/units.h"
#include "trainer/report/machine.h"

// Letters: as in moe/kernels.h.

namespace moe {
namespace {

constexpr DType kF32 = DType::kFloat32;

// Ordinary loads and stores. The compiler is kept from making a call of memcpy
// out of them, which for long arrays writes past the caches: so could not a
// kernel that anything is to be read from soon.
__attribute__((target("avx2"),
               optimize("no-tree-loop-distribute-patterns"))) void
CopyPiece(float* to, const float* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

// Of the host's memory, which the processor's kernels work on.
void PlainCopy(int threads, const Tensor& to, const Tensor& from) {
  const int64_t n = to.size();
  float* const y = to.data<float>();
  const float* const x = from.data<float>();
#pragma omp parallel for schedule(static, 1) num_threads(threads)
  for (int piece = 0; piece < threads; ++piece) {
    const int64_t begin = n * piece / threads;
    CopyPiece(y + begin, x + begin, n * (piece + 1) / threads - begin);
  }
}

// Arrays of one kernel at a time, beside those that are copied.
class MemoryBench {
 public:
  MemoryBench(Kernels& kernels, const BenchOptions& options)
      : kernels_(kernels),
        options_(options),
        threads_(options.config.run().threads()),
        dtype_(ComputeDType(options.config)),
        c_(SizeOf(dtype_)),
        D(options.config.model().hidden_size()),
        K(options.config.model().num_experts_per_tok()),
        F(options.config.model().intermediate_size()),
        T(Rows(D * c_)),
        copied_(kernels, kF32) {}

  absl::Status Run() {
    RETURN_IF_ERROR(CheckMemory());
    ASSIGN_OR_RETURN(from_, copied_.Make({options_.array_bytes / 4}));
    ASSIGN_OR_RETURN(to_, copied_.Make({options_.array_bytes / 4}));
    Report({.name = "memcpy", .bytes = CopiedBytes()},
           [&] { kernels_.Convert(to_, from_); });
    RETURN_IF_ERROR(BenchAdamW());
    RETURN_IF_ERROR(BenchNorm());
    RETURN_IF_ERROR(BenchPermutation());
    RETURN_IF_ERROR(BenchCombine());
    RETURN_IF_ERROR(BenchSwiGlu());
    return kernels_.status();
  }

 private:
  // How many rows of so many bytes fill an array.
  int64_t Rows(int64_t row_bytes) const {
    return (options_.array_bytes + row_bytes - 1) / row_bytes;
  }
  double CopiedBytes() const {
    return 2.0 * static_cast<double>(options_.array_bytes / 4 * 4);
  }

  // What the largest of the kernels below takes.
  absl::Status CheckMemory() const {
    const int64_t arrays = 2 + std::max<int64_t>(5, 1 + K);
    const int64_t needed = arrays * options_.array_bytes;
    const int64_t available = AvailableBytes();
    if (available == 0 || needed <= available) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("part memory takes ", FormatBytes(needed),
                     " for arrays of ", FormatBytes(options_.array_bytes),
                     ", must be at most the ", FormatBytes(available),
                     " that are available; --array-mib asks for smaller ones"));
  }

  void Report(
      BenchResult result, const std::function<void()>& work,
      const std::function<void()>& prepare = [] {}) {
    result.part = "memory";
    result.shape.push_back({"array_mib", options_.array_bytes >> 20});
    const double copy_seconds = MeasureInTurns(
        result, options_.seconds, UntilDone(kernels_, work),
        [&] { PlainCopy(threads_, to_, from_); }, prepare);
    const double rate = result.bytes / result.seconds;
    const double over_copy = rate / (CopiedBytes() / copy_seconds);
    result.figures = {{"copy_seconds", copy_seconds, ""},
                      {"rate_over_copy", over_copy,
                       absl::StrFormat("%.3f of a plain copy's", over_copy)},
                      {"array_over_last_cache",
                       static_cast<double>(options_.array_bytes) /
                           static_cast<double>(LastCacheBytes()),
                       ""}};
    options_.report(result);
  }

  absl::Status BenchAdamW() {
    BenchTensors tensors(kernels_, kF32);
    const int64_t n = Rows(SizeOf(kF32));
    ASSIGN_OR_RETURN(const Tensor w, tensors.Make({n}));
    ASSIGN_OR_RETURN(const Tensor m, tensors.Make({n}));
    ASSIGN_OR_RETURN(const Tensor v, tensors.Make({n}));
    ASSIGN_OR_RETURN(const Tensor g, tensors.Make({n}));
    kernels_.SetZero(v);
    Tensor copy;
    int64_t bytes = 7 * SizeOf(kF32);
    if (dtype_ != kF32) {
      ASSIGN_OR_RETURN(copy, tensors.Make({n}, dtype_));
      bytes += c_;
    }
    Report({.name = "AdamW",
            .shape = {{"elements", n}},
            .bytes = static_cast<double>(n * bytes)},
           [&] {
             kernels_.AdamW(w, m, v, copy, g,
                            {.learning_rate = 1e-4,
                             .beta1 = 0.9,
                             .beta2 = 0.95,
                             .epsilon = 1e-8,
                             .weight_decay = 0.1});
           });
    return absl::OkStatus();
  }

  absl::Status BenchNorm() {
    BenchTensors tensors(kernels_, dtype_);
    ASSIGN_OR_RETURN(const Tensor x_TD, tensors.Make({T, D}, kF32));
    ASSIGN_OR_RETURN(const Tensor y_TD, tensors.Make({T, D}));
    ASSIGN_OR_RETURN(const Tensor w_D, tensors.Make({D}, kF32));
    ASSIGN_OR_RETURN(const Tensor inverse_rms_T, tensors.Make({T}, kF32));
    Report({.name = "norm forward",
            .shape = {{"rows", T}, {"width", D}},
            .bytes = static_cast<double>(T * D * (4 + c_) + T * 4)},
           [&] {
             kernels_.RmsNormForward(y_TD, inverse_rms_T, x_TD, w_D, 1e-5f);
           });
    ASSIGN_OR_RETURN(const Tensor d_x_TD, tensors.Make({T, D}, kF32));
    ASSIGN_OR_RETURN(const Tensor d_w_D, tensors.Make({D}, kF32));
    Report({.name = "norm backward",
            .shape = {{"rows", T}, {"width", D}},
            .bytes = static_cast<double>(T * D * (12 + c_) + T * 4)},
           [&] {
             kernels_.RmsNormBackward(d_x_TD, d_w_D, y_TD, x_TD, w_D,
                                      inverse_rms_T);
           });
    return absl::OkStatus();
  }

  // Of tokens whose choices are random, sorted by expert.
  struct Order {
    Tensor token_of_row_N;
    Tensor row_of_choice_TK;
  };
  absl::StatusOr<Order> MakeOrder(BenchTensors& tensors, int64_t num_tokens) {
    const int64_t E = options_.config.model().num_local_experts();
    const int64_t N = num_tokens * K;
    const DType index = DType::kInt32;
    Order order;
    ASSIGN_OR_RETURN(const Tensor expert_ids_TK,
                     tensors.MakeChoices(num_tokens, K, E));
    ASSIGN_OR_RETURN(const Tensor choice_of_row_N,
                     tensors.MakeUninitialised({N}, index));
    ASSIGN_OR_RETURN(order.token_of_row_N,
                     tensors.MakeUninitialised({N}, index));
    ASSIGN_OR_RETURN(order.row_of_choice_TK,
                     tensors.MakeUninitialised({num_tokens, K}, index));
    ASSIGN_OR_RETURN(const Tensor counts_E,
                     tensors.MakeUninitialised({E}, DType::kInt64));
    kernels_.SortChoices(choice_of_row_N, order.token_of_row_N,
                         order.row_of_choice_TK, counts_E, expert_ids_TK);
    return order;
  }

  absl::Status BenchPermutation() {
    BenchTensors tensors(kernels_, dtype_);
    ASSIGN_OR_RETURN(const Order order, MakeOrder(tensors, T));
    ASSIGN_OR_RETURN(const Tensor x_TD, tensors.Make({T, D}));
    ASSIGN_OR_RETURN(const Tensor y_ND, tensors.Make({T * K, D}));
    Report({.name = "permutation",
            .shape = {{"rows", T * K}, {"width", D}},
            .bytes = static_cast<double>(T * K * (2 * D * c_ + 4))},
           [&] { kernels_.GatherRows(y_ND, x_TD, order.token_of_row_N); });
    return absl::OkStatus();
  }

  absl::Status BenchCombine() {
    BenchTensors tensors(kernels_, dtype_);
    const int64_t tokens = Rows(D * SizeOf(kF32));
    ASSIGN_OR_RETURN(const Order order, MakeOrder(tensors, tokens));
    ASSIGN_OR_RETURN(const Tensor y_TD, tensors.Make({tokens, D}, kF32));
    ASSIGN_OR_RETURN(const Tensor x_ND, tensors.Make({tokens * K, D}));
    Report({.name = "combine",
            .shape = {{"rows", tokens * K}, {"width", D}},
            .bytes = static_cast<double>(tokens * (D * 8 + K * (D * c_ + 4)))},
           [&] {
             kernels_.SumRows(y_TD, x_ND, order.row_of_choice_TK,
                              /*accumulate=*/true);
           });
    return absl::OkStatus();
  }

  absl::Status BenchSwiGlu() {
    BenchTensors tensors(kernels_, dtype_);
    const int64_t R = Rows(F * c_);
    ASSIGN_OR_RETURN(const Tensor h_RF, tensors.Make({R, F}));
    ASSIGN_OR_RETURN(const Tensor gate_up_R2F, tensors.Make({R, 2 * F}));
    ASSIGN_OR_RETURN(const Tensor weight_R, tensors.Make({R}, kF32));
    ASSIGN_OR_RETURN(const Tensor d_weight_R, tensors.Make({R}, kF32));
    Report({.name = "SwiGLU forward",
            .shape = {{"rows", R}, {"width", F}},
            .bytes = static_cast<double>(R * (3 * F * c_ + 4))},
           [&] { kernels_.SwiGluForward(h_RF, gate_up_R2F, weight_R); });
    // In its place, as in training; without new values each time it would end
    // in denormals.
    Report(
        {.name = "SwiGLU backward",
         .shape = {{"rows", R}, {"width", F}},
         .bytes = static_cast<double>(R * (6 * F * c_ + 8))},
        [&] {
          kernels_.SwiGluBackward(gate_up_R2F, d_weight_R, h_RF, h_RF,
                                  gate_up_R2F, weight_R);
        },
        [&] {
          tensors.Fill(gate_up_R2F);
          tensors.Fill(h_RF);
        });
    return absl::OkStatus();
  }

  Kernels& kernels_;
  const BenchOptions& options_;
  const int threads_;
  const DType dtype_;
  const int64_t c_;  // bytes of a compute element
  const int64_t D, K, F;
  const int64_t T;
  BenchTensors copied_;
  Tensor from_;
  Tensor to_;
};

}  // namespace

absl::Status BenchMemory(Kernels& kernels, const BenchOptions& options) {
  return MemoryBench(kernels, options).Run();
}

}  // namespace moe
