#include "tests/trainer/trainer_fixture.h"

#include <utility>
#include <vector>

#include "comm/base/check.h"
#include "comm/base/philox.h"
#include "comm/mpi/mpi_group.h"
#include "tests/mpi_test.h"
#include "tests/test_device.h"

namespace moe {
namespace {

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  CHECK(value.ok());
  return *std::move(value);
}

Mesh MakeMesh(const TrainConfig& config, bool alone) {
  const int num_experts = config.model().num_local_experts();
  if (alone) return ValueOrDie(Mesh::Create(1, 1, 1, num_experts));
  return ValueOrDie(Mesh::Create(TestRuntime().world(),
                                 config.parallel().tensor(),
                                 config.parallel().expert(), num_experts));
}

}  // namespace

absl::Status RandomSamples::Read(int64_t position, absl::Span<int32_t> inputs,
                                 absl::Span<int32_t> targets,
                                 absl::Span<int32_t> positions) const {
  const Philox philox(/*seed=*/5, "test samples");
  const uint64_t first =
      static_cast<uint64_t>(SampleAt(position) * (length_ + 1));
  auto token = [&](size_t i) {
    return static_cast<int32_t>(philox.Uniform(first + i) * vocab_size_);
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    inputs[i] = token(i);
    targets[i] = token(i + 1);
  }
  const Philox cuts(/*seed=*/5, "test documents");
  int32_t in_document = 0;
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = in_document++;
    if (cuts.Uniform(first + i) < 0.25) {
      targets[i] = -1;
      in_document = 0;
    }
  }
  return absl::OkStatus();
}

TrainConfig SmallConfig() {
  TrainConfig config;
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(53);
  model.set_hidden_size(24);
  model.set_intermediate_size(20);
  model.set_num_hidden_layers(2);
  model.set_num_attention_heads(4);
  model.set_num_key_value_heads(2);
  model.set_num_local_experts(8);
  model.set_num_experts_per_tok(2);
  model.set_initializer_range(0.15);
  config.mutable_router()->set_aux_loss_coefficient(0.02);
  config.mutable_router()->set_z_loss_coefficient(0.001);
  config.mutable_batch()->set_global_size(10);
  config.mutable_batch()->set_sequence_length(9);
  config.mutable_schedule()->set_steps(20);
  config.mutable_schedule()->set_decay(ScheduleConfig::CONSTANT);
  config.mutable_optimizer()->set_learning_rate(3e-4);
  config.mutable_run()->set_threads(1);
  config.mutable_parallel()->set_bucket_elements(2000);
  return config;
}

TestTrainer::TestTrainer(const TrainConfig& config, bool alone,
                         const SampleSequence* samples,
                         const TrainingStart& start,
                         const std::function<void(ProcessGroups&)>& alter,
                         const TrainedPredicate& trained)
    : random_samples_(config.model().vocab_size(),
                      config.batch().sequence_length()),
      mesh_(MakeMesh(config, alone)),
      groups_(alone ? ProcessGroups::CreateSingle()
                    : ValueOrDie(MakeMpiGroups(TestRuntime(), mesh_))),
      kernels_(TestKernels(config.run().threads())) {
  if (alter) alter(groups_);
  UseTestDevice(groups_);
  const SampleSequence& train = samples != nullptr ? *samples : random_samples_;
  trainer_ = ValueOrDie(Trainer::Create(config,
                                        {.mesh = mesh_,
                                         .groups = groups_,
                                         .kernels = *kernels_,
                                         .train = train,
                                         .valid = &random_samples_,
                                         .trained = trained},
                                        start));
}

}  // namespace moe
