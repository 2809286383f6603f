// A save that also deletes an old checkpoint, cut at every one of its calls:
// what is found afterwards is the old checkpoint or the new one, whole.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/data/temporary_directory.h"
#include "tests/journal_file_system.h"
#include "tests/power_loss.h"
#include "tests/trainer/small_checkpoint.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/retention.h"

namespace moe {
namespace {

using Call = JournalFileSystem::Call;
using Moment = JournalFileSystem::Moment;
using testing::ElementsAre;
using testing::IsEmpty;

class CrashTest : public testing::Test {
 protected:
  // The step that a start in `directory` goes on from. Nothing may have to be
  // passed over, and the run must be able to go on and save.
  int64_t GoOn(const std::string& directory) {
    std::vector<std::string> said;
    const absl::StatusOr<int64_t> found = checkpoint_.Find(directory, &said);
    EXPECT_TRUE(found.ok()) << found.status();
    EXPECT_THAT(said, IsEmpty());
    FileSystem& files = PosixFileSystem();
    EXPECT_TRUE(RemoveTemporaries(files, directory).ok());
    const absl::Status saved = checkpoint_.Save(files, directory, 3, 1);
    EXPECT_TRUE(saved.ok()) << saved;
    EXPECT_EQ(*checkpoint_.Find(directory), 3);
    return found.ok() ? *found : -1;
  }

  // No half of a checkpoint, new or being deleted, has a name that counts.
  void ExpectWholeUnderEveryName(const std::string& directory) {
    const auto names = PosixFileSystem().List(directory);
    ASSERT_TRUE(names.ok()) << names.status();
    for (const std::string& name : *names) {
      const std::optional<int64_t> step = StepOfDirectory(name);
      if (!step.has_value()) continue;
      const absl::Status whole =
          checkpoint_.CheckState(JoinPath(directory, name), *step);
      EXPECT_TRUE(whole.ok()) << whole;
    }
  }

  SmallCheckpoint checkpoint_;
  TemporaryDirectory root_;
};

TEST_F(CrashTest, AProcessThatDiesAtAnyCallLeavesTheOldOrTheNewCheckpoint) {
  for (const Moment moment : {Moment::kBefore, Moment::kAmid, Moment::kAfter}) {
    bool new_stands = false;
    bool survived = false;
    for (size_t k = 1; !survived; ++k) {
      SCOPED_TRACE(absl::StrCat("call ", k));
      const std::string directory = root_.Path(absl::StrCat("save", k));
      ASSERT_TRUE(checkpoint_.Save(PosixFileSystem(), directory, 1, 1).ok());
      JournalFileSystem files;
      files.DieAt(k, moment);
      const absl::Status status = checkpoint_.Save(files, directory, 2, 1);
      survived = !files.dead();
      ExpectWholeUnderEveryName(directory);
      const int64_t step = GoOn(directory);
      EXPECT_TRUE(step == 1 || step == 2) << step;
      EXPECT_TRUE(step == 2 || !new_stands) << "the new one has gone again";
      EXPECT_TRUE(step == 2 || !status.ok()) << "what was promised is gone";
      new_stands = step == 2;
      EXPECT_TRUE(PosixFileSystem().Remove(directory).ok());
      EXPECT_TRUE(k > 40 || !survived) << "so few calls?";
    }
    EXPECT_TRUE(new_stands);
  }
}

class PowerLossTest : public CrashTest {
 protected:
  PowerLossTest() : disk_(root_.path()) {
    JournalFileSystem files;
    const std::string directory = root_.Path("checkpoints");
    EXPECT_TRUE(checkpoint_.Save(files, directory, 1, 1).ok());
    num_before_ = files.journal().size();
    EXPECT_TRUE(checkpoint_.Save(files, directory, 2, 1).ok());
    journal_ = files.journal();
    for (size_t i = 0; i < num_before_; ++i) disk_.Do(journal_[i]);
  }

  // What a start finds if the power fails now.
  int64_t StepAfterLoss(Disk::Unsynced unsynced, uint32_t seed) {
    disk_.WriteTo(after_.Path("left"), unsynced, seed);
    return GoOn(after_.Path("left/checkpoints"));
  }

  // Tests after each call of the second save.
  void LoseEverywhere(Disk::Unsynced unsynced, uint32_t seed) {
    bool new_stands = false;
    for (size_t i = num_before_; i <= journal_.size(); ++i) {
      SCOPED_TRACE(absl::StrCat("after call ", i - num_before_));
      const int64_t step = StepAfterLoss(unsynced, seed);
      EXPECT_TRUE(step == 1 || step == 2) << step;
      const bool drawn = unsynced == Disk::Unsynced::kDrawn;
      EXPECT_TRUE(step == 2 || !new_stands || drawn) << "gone again";
      new_stands = step == 2;
      if (i < journal_.size()) disk_.Do(journal_[i]);
    }
    EXPECT_TRUE(new_stands) << "a save that ended well is not durable";
  }

  TemporaryDirectory after_;
  Disk disk_;
  std::vector<Call> journal_;
  size_t num_before_ = 0;
};

TEST_F(PowerLossTest, LosingAllThatWasNotSyncedLeavesTheOldOrTheNew) {
  LoseEverywhere(Disk::Unsynced::kLost, 0);
}

TEST_F(PowerLossTest, NamesWithoutTheirBytesAreNotTakenForACheckpoint) {
  LoseEverywhere(Disk::Unsynced::kNamesStay, 0);
}

class DrawnPowerLossTest : public PowerLossTest,
                           public testing::WithParamInterface<uint32_t> {};

TEST_P(DrawnPowerLossTest, AnyPartOfWhatWasNotSyncedLeavesTheOldOrTheNew) {
  LoseEverywhere(Disk::Unsynced::kDrawn, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Seeds, DrawnPowerLossTest,
                         testing::Range(uint32_t{1}, uint32_t{9}));

// The disk itself: what it forgets and what it keeps.
TEST(Disk, KeepsWhatWasSyncedAndNothingElse) {
  TemporaryDirectory left;
  Disk disk("/r");
  const auto names = [&] {
    disk.WriteTo(left.Path("d"), Disk::Unsynced::kLost, 0);
    return *PosixFileSystem().List(left.Path("d"));
  };
  disk.Do({Call::Kind::kCreate, "/r/a", ""});
  disk.Do({Call::Kind::kAppend, "/r/a", "old"});
  disk.Do({Call::Kind::kSync, "/r/a", ""});
  EXPECT_THAT(names(), IsEmpty());
  disk.Do({Call::Kind::kMake, "/r/x", ""});
  disk.Do({Call::Kind::kSyncDirectory, "/r/x/..", ""});
  disk.Do({Call::Kind::kAppend, "/r/a", "er"});
  EXPECT_THAT(names(), ElementsAre("a", "x"));
  EXPECT_EQ(left.Read("d/a"), "old");
  disk.Do({Call::Kind::kRename, "/r/a", "/r/b"});
  EXPECT_THAT(names(), ElementsAre("a", "x"));
  disk.Do({Call::Kind::kSyncDirectory, "/r", ""});
  EXPECT_THAT(names(), ElementsAre("b", "x"));
  disk.Do({Call::Kind::kRemove, "/r/b", ""});
  EXPECT_THAT(names(), ElementsAre("b", "x"));
}

}  // namespace
}  // namespace moe
