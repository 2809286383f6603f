#include "launch/bench/bench_kernels.h"

#include <algorithm>
#include <string>
#include <utility>

#include "comm/base/status_macros.h"
#include "launch/bench/bench_tensors.h"
#include "moe/model_config.h"
#include "trainer/config/config_resolve.h"

namespace moe {
namespace {

void Report(Kernels& kernels, const BenchOptions& options, BenchResult result,
            const std::function<void()>& work) {
  result.peak_flops = options.peak_flops;
  Measure(result, options.seconds, UntilDone(kernels, work));
  options.report(result);
}

absl::Status BenchLinear(Kernels& kernels, const BenchOptions& options,
                         const std::string& name, int64_t inputs,
                         int64_t outputs) {
  const int64_t rows = MicroBatchTokens(options.config);
  BenchTensors tensors(kernels, ComputeDType(options.config));
  ASSIGN_OR_RETURN(const Tensor x, tensors.Make({rows, inputs}));
  ASSIGN_OR_RETURN(const Tensor y, tensors.Make({rows, outputs}));
  ASSIGN_OR_RETURN(const Tensor w, tensors.Make({outputs, inputs}));
  ASSIGN_OR_RETURN(const Tensor d_w,
                   tensors.Make({outputs, inputs}, DType::kFloat32));
  BenchResult result{
      .part = "matmul",
      .name = "",
      .shape = {{"rows", rows}, {"inputs", inputs}, {"outputs", outputs}},
      .flops = 2.0 * static_cast<double>(rows * inputs * outputs)};
  auto report = [&](const char* direction, const std::function<void()>& work) {
    result.name = name + direction;
    Report(kernels, options, result, work);
  };
  report(" forward",
         [&] { kernels.LinearForward(y, x, w, /*accumulate=*/false); });
  report(" input gradient",
         [&] { kernels.LinearInputGradient(x, y, w, /*accumulate=*/false); });
  report(" weight gradient", [&] { kernels.LinearWeightGradient(d_w, y, x); });
  return kernels.status();
}

}  // namespace

std::function<void()> UntilDone(Kernels& kernels, std::function<void()> work) {
  return [&kernels, work = std::move(work)] {
    work();
    kernels.context().Synchronize().IgnoreError();  // Kernels::status has it
  };
}

int64_t MicroBatchTokens(const TrainConfig& config) {
  return int64_t{config.batch().micro_size()} *
         config.batch().sequence_length();
}

absl::Status BenchMatMul(Kernels& kernels, const BenchOptions& options) {
  const ModelConfig& model = options.config.model();
  const int64_t width = model.hidden_size();
  const int64_t q_width = model.num_attention_heads() * HeadDim(model);
  const int64_t kv_width = model.num_key_value_heads() * HeadDim(model);
  RETURN_IF_ERROR(
      BenchLinear(kernels, options, "qkv", width, q_width + 2 * kv_width));
  RETURN_IF_ERROR(BenchLinear(kernels, options, "o", q_width, width));
  return BenchLinear(kernels, options, "head", width, model.vocab_size());
}

absl::Status BenchAttention(Kernels& kernels, const BenchOptions& options) {
  const TrainConfig& config = options.config;
  const int64_t tokens = MicroBatchTokens(config);
  AttentionShape shape =
      MakeAttentionShape(config.model(), config.parallel().tensor());
  shape.length = config.batch().sequence_length();
  const int64_t width = shape.heads * shape.head_dim;
  const int64_t qkv_width = width + 2 * shape.kv_heads * shape.head_dim;
  BenchTensors tensors(kernels, ComputeDType(config));
  ASSIGN_OR_RETURN(const Tensor qkv, tensors.Make({tokens, qkv_width}));
  ASSIGN_OR_RETURN(const Tensor d_qkv, tensors.Make({tokens, qkv_width}));
  ASSIGN_OR_RETURN(const Tensor y, tensors.Make({tokens, width}));
  ASSIGN_OR_RETURN(const Tensor d_y, tensors.Make({tokens, width}));
  ASSIGN_OR_RETURN(const Tensor log_sum_exp,
                   tensors.Make({shape.heads, tokens}, DType::kFloat32));
  // The causal half of q k^T and of p v.
  BenchResult result{
      .part = "attention",
      .name = "forward",
      .shape = {{"tokens", tokens},
                {"length", shape.length},
                {"heads", shape.heads},
                {"kv_heads", shape.kv_heads},
                {"head_dim", shape.head_dim}},
      .flops = 2.0 * static_cast<double>(tokens * shape.length * width)};
  Report(kernels, options, result, [&] {
    kernels.AttentionForward(y, log_sum_exp, qkv, /*positions_T=*/{}, shape);
  });
  result.name = "backward";
  result.flops *= 2.5;  // five products of that size instead of two
  Report(kernels, options, result, [&] {
    kernels.AttentionBackward(d_qkv, d_y, qkv, y, log_sum_exp,
                              /*positions_T=*/{}, shape);
  });
  return kernels.status();
}

absl::Status BenchOptimizer(Kernels& kernels, const BenchOptions& options) {
  constexpr int64_t kMostElements = int64_t{1} << 26;
  const int64_t elements =
      std::min(CountParameters(options.config.model()).total, kMostElements);
  const DType f32 = DType::kFloat32;
  BenchTensors tensors(kernels, f32);
  ASSIGN_OR_RETURN(const Tensor w, tensors.Make({elements}));
  ASSIGN_OR_RETURN(const Tensor m, tensors.Make({elements}));
  ASSIGN_OR_RETURN(const Tensor v, tensors.Make({elements}));
  ASSIGN_OR_RETURN(const Tensor g, tensors.Make({elements}));
  kernels.SetZero(v);
  Report(kernels, options,
         {.part = "optimizer",
          .name = "AdamW",
          .shape = {{"elements", elements}},
          .flops = 12.0 * static_cast<double>(elements)},
         [&] {
           kernels.AdamW(w, m, v, Tensor(), g,
                         {.learning_rate = 1e-4f,
                          .beta1 = 0.9f,
                          .beta2 = 0.95f,
                          .epsilon = 1e-8f,
                          .weight_decay = 0.1f});
         });
  return kernels.status();
}

}  // namespace moe
