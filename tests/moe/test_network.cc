#include "tests/moe/test_network.h"

#include <utility>

#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "tests/test_device.h"

namespace moe {
namespace {

Mesh OneRank(const ModelConfig& model) {
  return Mesh::Create(1, 1, 1, model.num_local_experts()).value();
}

Tensor UploadIds(Arena& arena, const std::vector<int32_t>& ids) {
  const Tensor tensor =
      arena.Allocate({static_cast<int64_t>(ids.size())}, DType::kInt32).value();
  SetHostValues(tensor, ids);
  return tensor;
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
      weights_(
          ParameterStorage::AllocateWeights(table_, TestContext()).value()),
      gradients_(
          ParameterStorage::AllocateGradients(table_, TestContext()).value()),
      bound_weights_(BindWeights(config_, table_, weights_)),
      bound_gradients_(BindWeights(config_, table_, gradients_)),
      groups_(std::move(groups)),
      kernels_(TestKernels(threads)) {
  UseTestDevice(groups_);
  const LanguageModel::Options options = {.model = model,
                                          .router = router,
                                          .compute_dtype = compute_dtype,
                                          .max_length = kMaxLength};
  model_ = LanguageModel::Create(options, table_, groups_, *kernels_).value();
}

void TestNetwork::SetWeights(const NamedTensors& weights) {
  SetParameters(weights, table_, weights_);
}

MicroBatch TestNetwork::Upload(const reference::Tokens& tokens,
                               const BatchScale& scale) {
  tokens_.Release({});
  return UploadBatch(tokens_, tokens, scale);
}

absl::Status TestNetwork::Step(const reference::Tokens& tokens,
                               const BatchScale& scale,
                               GradientListener* listener) {
  const MicroBatch batch = Upload(tokens, scale);
  RETURN_IF_ERROR(model_->Forward(pass_, &losses_, batch, bound_weights_,
                                  &bound_gradients_));
  return model_->Backward(pass_, bound_weights_, bound_gradients_, listener);
}

absl::Status TestNetwork::Evaluate(const reference::Tokens& tokens,
                                   const BatchScale& scale) {
  return model_->Forward(pass_, &losses_, Upload(tokens, scale), bound_weights_,
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
  const MicroBatch batch = Upload(tokens, {});
  ArenaScope scope(scratch_);
  const Tensor logits =
      scratch_.Allocate({num_rows, config_.vocab_size()}, DType::kFloat32)
          .value();
  const absl::Status status = model_->Logits(
      pass_, logits, batch.inputs_S, batch.length, first_row, bound_weights_);
  CHECK(status.ok());
  return Elements(logits);
}

void TestNetwork::Clear() {
  losses_ = {};
  for (ArenaKind kind : kTrainedArenaKinds)
    kernels_->SetZero(gradients_.arena(kind));
}

MicroBatch UploadBatch(Arena& arena, const reference::Tokens& tokens,
                       const BatchScale& scale) {
  return {.inputs_S = UploadIds(arena, tokens.inputs),
          .targets_S = UploadIds(arena, tokens.targets),
          .length = static_cast<int64_t>(tokens.length),
          .positions_S = tokens.positions.empty()
                             ? Tensor()
                             : UploadIds(arena, tokens.positions),
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
