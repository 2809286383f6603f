#include "tests/moe/test_network.h"

#include <cstring>
#include <utility>

#include "comm/check.h"
#include "comm/status_macros.h"

namespace moe {
namespace {

Mesh OneRank(const ModelConfig& model) {
  return Mesh::Create(1, 1, 1, model.num_local_experts()).value();
}

Tensor ViewOfIds(std::vector<int32_t>& ids) {
  return Tensor(ids.data(), {static_cast<int64_t>(ids.size())}, DType::kInt32);
}

}  // namespace

TestNetwork::TestNetwork(const ModelConfig& model, const RouterConfig& router,
                         DType compute_dtype, int threads)
    : TestNetwork(model, router, compute_dtype, OneRank(model), /*rank=*/0,
                  ProcessGroups::CreateSingle(), threads) {}

TestNetwork::TestNetwork(const ModelConfig& model, const RouterConfig& router,
                         DType compute_dtype, const Mesh& mesh, int rank,
                         ProcessGroups groups, int threads)
    : config_(model),
      table_(model, compute_dtype, mesh, rank),
      weights_(ParameterStorage::AllocateWeights(table_).value()),
      gradients_(ParameterStorage::AllocateGradients(table_).value()),
      bound_weights_(BindWeights(config_, table_, weights_)),
      bound_gradients_(BindWeights(config_, table_, gradients_)),
      groups_(std::move(groups)),
      kernels_(MakeCpuKernels(threads)) {
  const LanguageModel::Options options = {.model = model,
                                          .router = router,
                                          .compute_dtype = compute_dtype,
                                          .max_length = kMaxLength};
  model_ = LanguageModel::Create(options, table_, groups_, *kernels_).value();
}

void TestNetwork::SetWeights(const NamedTensors& weights) {
  SetParameters(weights, table_, weights_);
}

MicroBatch TestNetwork::View(const reference::Tokens& tokens,
                             const BatchScale& scale) {
  tokens_ = tokens;
  return ViewOf(tokens_, scale);
}

absl::Status TestNetwork::Step(const reference::Tokens& tokens,
                               const BatchScale& scale,
                               GradientListener* listener) {
  const MicroBatch batch = View(tokens, scale);
  RETURN_IF_ERROR(model_->Forward(pass_, &losses_, batch, bound_weights_,
                                  &bound_gradients_));
  return model_->Backward(pass_, bound_weights_, bound_gradients_, listener);
}

absl::Status TestNetwork::Evaluate(const reference::Tokens& tokens,
                                   const BatchScale& scale) {
  return model_->Forward(pass_, &losses_, View(tokens, scale), bound_weights_,
                         nullptr);
}

absl::Status TestNetwork::Train(
    const std::vector<reference::Tokens>& micro_steps) {
  for (size_t i = 0; i < micro_steps.size(); ++i)
    RETURN_IF_ERROR(Step(micro_steps[i], ScaleOf(micro_steps, i)));
  return absl::OkStatus();
}

std::vector<double> TestNetwork::Logits(const reference::Tokens& tokens,
                                        int64_t first_row, int64_t num_rows) {
  std::vector<float> logits(
      static_cast<size_t>(num_rows * config_.vocab_size()));
  const MicroBatch batch = View(tokens, {});
  const absl::Status status = model_->Logits(
      pass_,
      Tensor(logits.data(), {num_rows, config_.vocab_size()}, DType::kFloat32),
      batch.inputs_S, batch.length, first_row, bound_weights_);
  CHECK(status.ok());
  return std::vector<double>(logits.begin(), logits.end());
}

void TestNetwork::Clear() {
  losses_ = {};
  for (ArenaKind kind : kAllArenaKinds) {
    const Tensor arena = gradients_.arena(kind);
    std::memset(arena.raw(), 0,
                static_cast<size_t>(arena.size() * SizeOf(arena.dtype())));
  }
}

MicroBatch ViewOf(reference::Tokens& tokens, const BatchScale& scale) {
  return {.inputs_S = ViewOfIds(tokens.inputs),
          .targets_S = ViewOfIds(tokens.targets),
          .length = static_cast<int64_t>(tokens.length),
          .positions_S =
              tokens.positions.empty() ? Tensor() : ViewOfIds(tokens.positions),
          .scale = scale};
}

BatchScale ScaleOf(const std::vector<reference::Tokens>& micro_steps,
                   size_t index) {
  BatchScale scale;
  for (const reference::Tokens& tokens : micro_steps) {
    scale.global_tokens += static_cast<int64_t>(tokens.inputs.size());
    for (int32_t target : tokens.targets)
      scale.global_targets += target != -1 ? 1 : 0;
    scale.global_sequences +=
        static_cast<int64_t>(tokens.inputs.size() / tokens.length);
  }
  const reference::Tokens& tokens = micro_steps[index];
  scale.micro_sequences =
      static_cast<int64_t>(tokens.inputs.size() / tokens.length);
  return scale;
}

}  // namespace moe
