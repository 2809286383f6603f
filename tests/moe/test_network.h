#ifndef TESTS_MOE_TEST_NETWORK_H_
#define TESTS_MOE_TEST_NETWORK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "moe/layers/language_model.h"
#include "moe/layers/pass.h"
#include "tests/golden_file.h"
#include "tests/moe/reference_model.h"

namespace moe {

// A LanguageModel with its weights and gradients, on one rank of a mesh. A
// failure to make one ends the test.
class TestNetwork {
 public:
  static constexpr int64_t kMaxLength = 160;

  // On one rank.
  TestNetwork(const ModelConfig& model, const RouterConfig& router,
              DType compute_dtype, int threads = 1);
  TestNetwork(const ModelConfig& model, const RouterConfig& router,
              DType compute_dtype, const Mesh& mesh, int rank,
              ProcessGroups groups, int threads = 1);

  void SetWeights(const NamedTensors& weights);

  // One micro-step, forward and backward: adds to losses() and gradients.
  absl::Status Step(const reference::Tokens& tokens, const BatchScale& scale,
                    GradientListener* listener = nullptr);
  // Forward without gradients.
  absl::Status Evaluate(const reference::Tokens& tokens,
                        const BatchScale& scale);

  // The micro-steps of a whole global batch of one rank.
  absl::Status Train(const std::vector<reference::Tokens>& micro_steps);

  // Logits of rows [first_row, first_row + num_rows).
  std::vector<double> Logits(const reference::Tokens& tokens, int64_t first_row,
                             int64_t num_rows);

  const LossTerms& losses() const { return losses_; }
  NamedTensors Gradients() const { return GetParameters(table_, gradients_); }
  void Clear();

  const ParameterTable& table() const { return table_; }
  const ParameterStorage& weights() const { return weights_; }
  const ParameterStorage& gradients() const { return gradients_; }
  const ProcessGroups& groups() const { return groups_; }
  const LanguageModel& model() const { return *model_; }
  const ModelWeights& bound_weights() const { return bound_weights_; }
  // The one that the functions above use.
  Pass& pass() { return pass_; }

 private:
  // The tokens on the device, until the next call.
  MicroBatch Upload(const reference::Tokens& tokens, const BatchScale& scale);

  ModelConfig config_;
  ParameterTable table_;
  ParameterStorage weights_;
  ParameterStorage gradients_;
  ModelWeights bound_weights_;
  ModelWeights bound_gradients_;
  ProcessGroups groups_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<LanguageModel> model_;
  Arena scratch_{kernels_->context()};
  Pass pass_{scratch_};
  LossTerms losses_;
  Arena tokens_{kernels_->context()};
};

// A copy of `tokens` in the arena.
MicroBatch UploadBatch(Arena& arena, const reference::Tokens& tokens,
                       const BatchScale& scale);

// The scale of micro_steps[index] where they are a whole global batch.
BatchScale ScaleOf(const std::vector<reference::Tokens>& micro_steps,
                   size_t index);

}  // namespace moe

#endif  // TESTS_MOE_TEST_NETWORK_H_
