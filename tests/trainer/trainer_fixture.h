#ifndef TESTS_TRAINER_TRAINER_FIXTURE_H_
#define TESTS_TRAINER_TRAINER_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/types/span.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "data/corpus.h"
#include "moe/kernels.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/step/trainer.h"

namespace moe {

// Sequences of random tokens, each a function of its position alone. About one
// token in four begins a document.
class RandomSamples : public SampleSequence {
 public:
  RandomSamples(int vocab_size, int64_t length, int64_t samples_per_epoch = 64)
      : vocab_size_(vocab_size),
        length_(length),
        samples_per_epoch_(samples_per_epoch) {}

  int64_t samples_per_epoch() const override { return samples_per_epoch_; }
  int64_t SampleAt(int64_t position) const override {
    return position % samples_per_epoch_;
  }
  absl::Status Read(int64_t position, absl::Span<int32_t> inputs,
                    absl::Span<int32_t> targets,
                    absl::Span<int32_t> positions) const override;

 private:
  int vocab_size_;
  int64_t length_;
  int64_t samples_per_epoch_;
};

// A small model with every loss on, in float32, 10 sequences of 9 tokens a
// step, constant learning rate 3e-4; resolved for one rank.
TrainConfig SmallConfig();

// A trainer and all that it borrows. With `alone` it is one of a single rank,
// whatever the world; else the ranks of the test make it together.
class TestTrainer {
 public:
  // `alter` may change the groups first; `trained` says what is trained.
  TestTrainer(const TrainConfig& config, bool alone,
              const SampleSequence* samples = nullptr,
              const TrainingStart& start = {},
              const std::function<void(ProcessGroups&)>& alter = nullptr,
              const TrainedPredicate& trained = nullptr);

  Trainer* operator->() { return trainer_.get(); }
  Trainer& operator*() { return *trainer_; }
  const ProcessGroups& groups() const { return groups_; }
  const Mesh& mesh() const { return mesh_; }
  ProcessGroup& world() const { return groups_.world(); }

 private:
  RandomSamples random_samples_;
  Mesh mesh_;
  ProcessGroups groups_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_TRAINER_FIXTURE_H_
