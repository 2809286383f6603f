#include "trainer/checkpoint/tools/checkpoint_audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/checkpoint_builder.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/tools/checkpoint_list.h"

namespace moe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kExpert[] =
    "model.layers.1.block_sparse_moe.experts.2.w1.weight";

void Quiet(const std::string&, int64_t, int64_t) {}

class CheckpointAuditTest : public testing::Test {
 protected:
  std::string Step() const { return directory_.Path(StepDirectoryName(7)); }
  std::string File(const char* name) const { return JoinPath(Step(), name); }

  // The same with one thread and with many.
  CheckpointAudit Audit(const std::string& path) const {
    const auto audit = AuditCheckpoint(files_, path, 1, Quiet);
    EXPECT_TRUE(audit.ok()) << audit.status();
    EXPECT_EQ(AuditCheckpoint(files_, path, 5, Quiet)->problems,
              audit->problems);
    return *audit;
  }

  // After the builder's files are made and `damage` is done to them.
  std::vector<std::string> ProblemsAfter(
      const std::function<void()>& damage) const {
    EXPECT_TRUE(files_.Remove(Step()).ok());
    builder_.Write(Step());
    damage();
    return Audit(Step()).problems;
  }
  // What is wrong with files that are all as the manifest says.
  std::vector<std::string> Problems() const {
    return ProblemsAfter([] {});
  }

  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
  CheckpointBuilder builder_;
};

TEST_F(CheckpointAuditTest, WholeIsWhole) {
  builder_.Write(Step());
  const CheckpointAudit audit = Audit(directory_.path());
  EXPECT_THAT(audit.problems, IsEmpty());
  EXPECT_EQ(audit.path, Step());
  EXPECT_TRUE(audit.has_manifest);
  EXPECT_TRUE(audit.has_moments);
  EXPECT_EQ(audit.step, 7);
  EXPECT_EQ(audit.num_files, 6);
  EXPECT_EQ(audit.num_tensors, 41);
  EXPECT_EQ(Audit(Step() + "/").path, Step());
}

TEST_F(CheckpointAuditTest, EveryDamagedFileIsNamed) {
  for (const char* name :
       {kSingleWeightsFile, kConfigFile, kTokenizerFile, kTrainConfigFile,
        kGenerationConfigFile, "optimizer-00001-of-00001.safetensors"}) {
    const std::string path = File(name);
    EXPECT_THAT(ProblemsAfter([&] { FlipBit(path, 2); }),
                ElementsAre(std::string(name) +
                            " is damaged: its digest is not the manifest's"));
    EXPECT_THAT(ProblemsAfter([&] { EXPECT_TRUE(files_.Remove(path).ok()); }),
                ElementsAre(std::string(name) + " is missing"));
  }
}

TEST_F(CheckpointAuditTest, AllDamageIsToldAtOnce) {
  EXPECT_THAT(
      ProblemsAfter([&] {
        FlipBit(File(kSingleWeightsFile), 3000);
        EXPECT_TRUE(files_.Remove(File(kTokenizerFile)).ok());
      }),
      ElementsAre(HasSubstr(kSingleWeightsFile), HasSubstr(kTokenizerFile)));
}

TEST_F(CheckpointAuditTest, AManifestThatIsNoneIsNamed) {
  EXPECT_THAT(ProblemsAfter([&] { FlipBit(File(kManifestFile), 9); }),
              ElementsAre(HasSubstr("manifest.textproto is damaged")));
  EXPECT_THAT(ProblemsAfter([&] {
                EXPECT_TRUE(files_.Remove(File(kManifestFile)).ok());
              }),
              ElementsAre("manifest.textproto is missing"));
  builder_.manifest.set_step(8);
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("another step, 8")));
}

TEST_F(CheckpointAuditTest, WeightsThatTheManifestDoesNotKnowAreNamed) {
  EXPECT_THAT(
      ProblemsAfter([&] {
        EXPECT_TRUE(WriteDurably(files_, File("model-2.safetensors"), "").ok());
        EXPECT_TRUE(WriteDurably(files_, File("notes.txt"), "").ok());
      }),
      ElementsAre("model-2.safetensors is not in the manifest"));
}

TEST_F(CheckpointAuditTest, TensorsThatTheModelLacksOrWantsAreNamed) {
  builder_.weights.erase(kExpert);
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr(kExpert)));
}

TEST_F(CheckpointAuditTest, MomentsThatAreNotCompleteAreNamed) {
  builder_.first_moments.erase(kExpert);
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr(kExpert)));
  builder_.first_moments.clear();
  EXPECT_THAT(Problems(), ElementsAre("optimizer state is missing"));
}

TEST_F(CheckpointAuditTest, ValuesThatCannotBeAreNamed) {
  builder_.weights[kExpert][5] = std::numeric_limits<float>::infinity();
  builder_.weights[kExpert][9] = std::numeric_limits<float>::quiet_NaN();
  builder_.second_moments["model.norm.weight"][3] = -1;
  EXPECT_THAT(
      Problems(),
      ElementsAre(std::string(kExpert) +
                      " has 2 values that are not finite, the first at "
                      "element 5",
                  "the second_moment of model.norm.weight has 1 negative "
                  "values"));
}

TEST_F(CheckpointAuditTest, AnotherModelThanTheOneTrainedIsNamed) {
  EXPECT_THAT(
      ProblemsAfter([&] {
        TrainConfig other = builder_.config;
        other.mutable_model()->set_rope_theta(123);
        CheckpointBuilder odd = builder_;
        odd.config = other;
        odd.WriteFiles(directory_.Path("odd"));
        EXPECT_TRUE(
            files_.Rename(directory_.Path("odd/config.json"), File(kConfigFile))
                .ok());
        CheckpointBuilder::WriteManifest(Step(), builder_.manifest);
      }),
      ElementsAre(HasSubstr("config.json has another model")));
}

TEST_F(CheckpointAuditTest, OfHuggingFacesOnlyTheStructureIsTold) {
  const std::string plain = directory_.Path("plain");
  builder_.first_moments.clear();
  builder_.WriteFiles(plain);
  // What only we write makes it ours, and incomplete.
  EXPECT_THAT(Audit(plain).problems,
              ElementsAre("manifest.textproto is missing"));
  ASSERT_TRUE(files_.Remove(JoinPath(plain, kTrainConfigFile)).ok());
  const CheckpointAudit audit = Audit(plain);
  EXPECT_THAT(audit.problems, IsEmpty());
  EXPECT_FALSE(audit.has_manifest);
  EXPECT_EQ(audit.num_tensors, 41);
}

// What is not ours to read is not damaged.
TEST_F(CheckpointAuditTest, QuantizedAndMissingWeightsAreCalledSo) {
  using Trouble = CheckpointAudit::Trouble;
  const std::string plain = directory_.Path("plain");
  builder_.first_moments.clear();
  builder_.WriteFiles(plain);
  ASSERT_TRUE(files_.Remove(JoinPath(plain, kTrainConfigFile)).ok());
  std::string config = directory_.Read("plain/config.json");
  config.insert(1, "\"quantization_config\": {\"bits\": 4},");
  directory_.Write("plain/config.json", config);
  const CheckpointAudit quantized = Audit(plain);
  EXPECT_EQ(quantized.trouble, Trouble::kNotRead);
  EXPECT_THAT(quantized.problems,
              ElementsAre(HasSubstr("quantized weights are not read")));

  builder_.WriteFiles(plain);
  ASSERT_TRUE(files_.Remove(JoinPath(plain, kTrainConfigFile)).ok());
  ASSERT_TRUE(files_.Remove(JoinPath(plain, kSingleWeightsFile)).ok());
  const CheckpointAudit empty = Audit(plain);
  EXPECT_EQ(empty.trouble, Trouble::kNotThere);
  EXPECT_THAT(empty.problems, ElementsAre(HasSubstr("holds no weights")));

  builder_.weights.erase(kExpert);
  builder_.WriteFiles(plain);
  ASSERT_TRUE(files_.Remove(JoinPath(plain, kTrainConfigFile)).ok());
  EXPECT_EQ(Audit(plain).trouble, Trouble::kDamaged);
}

TEST_F(CheckpointAuditTest, APathToNoCheckpointIsAnError) {
  directory_.Write("file", "x");
  EXPECT_EQ(
      AuditCheckpoint(files_, directory_.path(), 1, Quiet).status().code(),
      absl::StatusCode::kNotFound);
  EXPECT_EQ(AuditCheckpoint(files_, directory_.Path("none"), 1, Quiet)
                .status()
                .code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(AuditCheckpoint(files_, directory_.Path("file"), 1, Quiet)
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(CheckpointAuditTest, AListTellsEachDirectorysState) {
  using State = ListedCheckpoint::State;
  for (const char* name :
       {"step_00000007", "step_00000010", "step_00000011", "step_00000012",
        "step_00000013", "step_00000009.damaged", "step_00000014.tmp"}) {
    builder_.manifest.set_step(std::stoi(std::string(name).substr(5, 8)));
    builder_.Write(directory_.Path(name));
  }
  ASSERT_TRUE(files_.Remove(directory_.Path("step_00000010/config.json")).ok());
  directory_.Write("step_00000011/tokenizer.model", "piece");
  ASSERT_TRUE(
      files_.Remove(directory_.Path("step_00000012/manifest.textproto")).ok());
  directory_.Write("step_00000013/manifest.textproto", "garbage");
  builder_.Write(directory_.Path("step_00000020"));  // its manifest says 14
  ASSERT_TRUE(files_.MakeDirectories(directory_.Path("other")).ok());
  directory_.Write("step_00000001", "a file");

  const auto all = ListCheckpoints(files_, directory_.path());
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 8u);
  const std::vector<int64_t> steps = {7, 9, 10, 11, 12, 13, 14, 20};
  const std::vector<State> states = {
      State::kComplete, State::kSetAside, State::kFaulty,     State::kFaulty,
      State::kFaulty,   State::kFaulty,   State::kUnfinished, State::kFaulty};
  for (size_t i = 0; i < all->size(); ++i) {
    EXPECT_EQ((*all)[i].step, steps[i]);
    EXPECT_EQ((*all)[i].state, states[i]) << steps[i];
  }
  EXPECT_EQ((*all)[0].sequence_length, 16);
  EXPECT_EQ((*all)[0].manifest->valid_loss(), 3.25);
  EXPECT_THAT((*all)[0].problems, IsEmpty());
  EXPECT_THAT((*all)[2].problems, ElementsAre("config.json is missing"));
  EXPECT_THAT((*all)[3].problems,
              ElementsAre("tokenizer.model has 5 bytes, must have 6"));
  EXPECT_THAT((*all)[4].problems, ElementsAre("manifest.textproto is missing"));
  EXPECT_THAT((*all)[5].problems, ElementsAre(HasSubstr("is damaged")));
  EXPECT_THAT((*all)[7].problems,
              ElementsAre("manifest.textproto is of another step, 14"));
}

TEST_F(CheckpointAuditTest, OneOfANewerVersionIsNotDamaged) {
  builder_.manifest.set_version(kManifestVersion + 1);
  builder_.Write(Step());
  const auto all = ListCheckpoints(files_, directory_.path());
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 1u);
  EXPECT_EQ((*all)[0].state, ListedCheckpoint::State::kNewer);
  EXPECT_THAT((*all)[0].problems, ElementsAre(HasSubstr("newer version")));
  const absl::Status status =
      AuditCheckpoint(files_, Step(), 1, Quiet).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("newer version"));
}

TEST_F(CheckpointAuditTest, AListOfNothingIsAnError) {
  EXPECT_EQ(ListCheckpoints(files_, directory_.path()).status().code(),
            absl::StatusCode::kNotFound);
  builder_.Write(Step());
  EXPECT_THAT(std::string(ListCheckpoints(files_, Step()).status().message()),
              HasSubstr("is one checkpoint"));
}

}  // namespace
}  // namespace moe
