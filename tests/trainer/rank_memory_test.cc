// A rank loads and saves a model that is larger than what the rank may take.

#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "comm/base/buffer.h"
#include "comm/mpi/mpi_group.h"
#include "tests/mpi_test.h"
#include "tests/trainer/trainer_fixture.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/tools/checkpoint_export.h"
#include "trainer/config/config_resolve.h"
#include "trainer/config/layout.h"
#include "trainer/plan/memory_plan.h"

namespace moe {
namespace {

// What loading and saving may take beyond what the rank then holds: a piece of
// a tensor on its way, and what MPI and the allocator keep.
constexpr int64_t kPieceBytes = int64_t{1} << 20;
constexpr int64_t kSlackBytes = int64_t{8} << 20;

// Private memory that this process can write: heap, mappings, stacks.
int64_t DataBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kibibytes = 0;
  while (status >> word)
    if (word == "VmData:") status >> kibibytes;
  return kibibytes << 10;
}

// While it lives the system refuses this process more than `bytes` beyond what
// it has.
class MemoryLimit {
 public:
  explicit MemoryLimit(int64_t bytes) {
    malloc_trim(0);
    getrlimit(RLIMIT_DATA, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(DataBytes() + bytes);
    EXPECT_EQ(setrlimit(RLIMIT_DATA, &limit), 0);
  }
  ~MemoryLimit() { setrlimit(RLIMIT_DATA, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_;
};

struct Case {
  const char* name;
  int tensor;
  int vocab_size;
  RunConfig::ComputeDType dtype;
};

class RankMemoryTest : public testing::TestWithParam<Case> {
 protected:
  // The same directory on all ranks: they are children of one launcher.
  RankMemoryTest()
      : root_(JoinPath(testing::TempDir(),
                       absl::StrCat("rank_memory_test_", getppid()))) {
    // What is freed goes back, so that it cannot be taken past the limit; and
    // stacks of threads are small.
    mallopt(M_MMAP_THRESHOLD, 64 << 10);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
  }

  void TearDown() override {
    EXPECT_TRUE(groups_.world().Barrier().ok());
    if (TestRuntime().rank() == 0) {
      EXPECT_TRUE(PosixFileSystem().Remove(root_).ok());
    }
  }

  // Nearly all of it experts, one on each rank.
  static TrainConfig Config() {
    TrainConfig config = SmallConfig();
    ModelConfig& model = *config.mutable_model();
    model.set_vocab_size(GetParam().vocab_size);
    model.set_hidden_size(256);
    model.set_intermediate_size(700);
    model.set_num_key_value_heads(4);
    config.mutable_batch()->set_sequence_length(8);
    config.mutable_batch()->set_global_size(8);
    config.mutable_run()->set_compute_dtype(GetParam().dtype);
    config.mutable_parallel()->set_tensor(GetParam().tensor);
    config.mutable_parallel()->set_expert(8);
    return *ResolveConfig(config, TestRuntime().world(), /*cores_per_rank=*/1);
  }

  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      const TrainingStart& start = {}) {
    return Trainer::Create(config_,
                           {.mesh = mesh_,
                            .groups = groups_,
                            .kernels = *kernels_,
                            .train = samples_},
                           start);
  }

  // The manifest of what is saved.
  absl::StatusOr<CheckpointManifest> Save(Trainer& trainer,
                                          const std::string& directory) {
    const auto saver = CheckpointSaver::Create(
        PosixFileSystem(),
        {.table = trainer.table(),
         .mesh = mesh_,
         .groups = groups_,
         .state = trainer.optimizer()},
        {}, {.plan = {}, .max_piece_bytes = kPieceBytes});
    if (!saver.ok()) return saver.status();
    CheckpointManifest manifest;
    manifest.set_step(trainer.step());
    const auto path = (*saver)->Save(
        directory, manifest,
        ModelFiles(config_.model(), config_.router(),
                   config_.batch().sequence_length(), nullptr, false));
    if (!path.ok()) return path.status();
    EXPECT_TRUE(groups_.world().Barrier().ok());
    return ReadManifest(PosixFileSystem(), *path);
  }

  int64_t ModelBytes() const {
    return CountParameters(config_.model()).total *
           static_cast<int64_t>(sizeof(float));
  }
  // What a rank then holds, and the slack; less than the model.
  int64_t LoadedBytes() const {
    const RankMemory plan = PlanMemory(config_, mesh_);
    return plan.weights + plan.gradients + plan.masters + plan.moments +
           kSlackBytes;
  }
  int64_t SnapshotBytes() const {
    return PlanMemory(config_, mesh_).snapshot + kPieceBytes + kSlackBytes;
  }

  const std::string root_;
  const TrainConfig config_ = Config();
  const Mesh mesh_ = *MakeMesh(config_, TestRuntime().world());
  const ProcessGroups groups_ = *MakeMpiGroups(TestRuntime(), mesh_);
  const std::unique_ptr<Kernels> kernels_ = MakeCpuKernels(/*threads=*/1);
  const RandomSamples samples_{config_.model().vocab_size(),
                               config_.batch().sequence_length()};
};

TEST_P(RankMemoryTest, LoadsAndSavesALargerModel) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer takes memory of its own";
#endif
  ASSERT_LT(LoadedBytes(), ModelBytes());
  ASSERT_LT(SnapshotBytes(), ModelBytes());
  absl::StatusOr<CheckpointManifest> saved;
  {
    const auto first = MakeTrainer();
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE((*first)->TrainStep().ok());
    saved = Save(**first, JoinPath(root_, "first"));
    ASSERT_TRUE(saved.ok()) << saved.status();
  }
  const std::string path =
      JoinPath(JoinPath(root_, "first"), StepDirectoryName(1));

  absl::StatusOr<std::unique_ptr<Trainer>> second;
  {
    const MemoryLimit limit(LoadedBytes());
    EXPECT_EQ(Buffer::Allocate(ModelBytes()).status().code(),
              absl::StatusCode::kResourceExhausted);
    const auto weights = WeightsLoader::Open(PosixFileSystem(), path);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const auto moments = StateLoader::Open(PosixFileSystem(), path, *saved);
    ASSERT_TRUE(moments.ok()) << moments.status();
    second = MakeTrainer(
        {.step = 1, .weights = weights->get(), .moments = moments->get()});
    ASSERT_TRUE(second.ok()) << second.status();
  }
  const MemoryLimit limit(SnapshotBytes());
  EXPECT_EQ(Buffer::Allocate(ModelBytes()).status().code(),
            absl::StatusCode::kResourceExhausted);
  const auto again = Save(**second, JoinPath(root_, "second"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->DebugString(), saved->DebugString());
}

// All weights in one file, as others give them.
TEST_P(RankMemoryTest, StartsWithTheWeightsOfALargerModel) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer takes memory of its own";
#endif
  const std::string path = JoinPath(root_, "exported");
  {
    const auto first = MakeTrainer();
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE(Save(**first, root_).ok());
    if (TestRuntime().rank() == 0) {
      const auto stored = OpenStoredCheckpoint(
          PosixFileSystem(), JoinPath(root_, StepDirectoryName(0)));
      ASSERT_TRUE(stored.ok()) << stored.status();
      const auto exported =
          ExportCheckpoint(PosixFileSystem(), *stored, {.output = path},
                           [](const std::string&, int64_t, int64_t) {});
      ASSERT_TRUE(exported.ok()) << exported.status();
      EXPECT_EQ(exported->weight_files.size(), 1u);
    }
    ASSERT_TRUE(groups_.world().Barrier().ok());
  }
  const MemoryLimit limit(LoadedBytes());
  const auto weights = WeightsLoader::Open(PosixFileSystem(), path);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto second = MakeTrainer({.weights = weights->get()});
  EXPECT_TRUE(second.ok()) << second.status();
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, RankMemoryTest,
    testing::Values(Case{"Expert", 1, 53, RunConfig::FLOAT32},
                    Case{"TensorBFloat16", 2, 1600, RunConfig::BFLOAT16}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace moe
