// Whatever is done to the files of the newest checkpoint, it is named, set
// aside, and the older one is found.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/small_checkpoint.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {
namespace {

namespace fs = std::filesystem;

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// From one place to the next that is damaged: every one in a manifest and in
// the first bytes of a file, where headers are; a sample of the rest.
size_t Stride(const std::string& name, size_t place) {
  return name == kManifestFile || place < 64 ? 1 : 13;
}

class CorruptionTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(checkpoint_.Save(PosixFileSystem(), root_.path(), 1, 2).ok());
    ASSERT_TRUE(checkpoint_.Save(PosixFileSystem(), root_.path(), 2, 2).ok());
    names_ = *PosixFileSystem().List(root_.Path("step_00000002"));
    ASSERT_GE(names_.size(), 7u);
  }

  std::string Newest(const std::string& name) const {
    return absl::StrCat("step_00000002/", name);
  }

  // With `contents` (or nothing at all) in place of the newest's file: the
  // older one is found, and what is said names the file. Then all is as it was.
  void ExpectFallsBack(const std::string& name, const std::string* contents) {
    const std::string before = root_.Read(Newest(name));
    if (contents != nullptr) {
      root_.Write(Newest(name), *contents);
    } else {
      ASSERT_TRUE(fs::remove(root_.Path(Newest(name))));
    }
    ExpectFallsBack(name);
    root_.Write(Newest(name), before);
  }

  void ExpectFallsBack(const std::string& name) {
    std::vector<std::string> said;
    const absl::StatusOr<int64_t> step = checkpoint_.Find(root_.path(), &said);
    ASSERT_TRUE(step.ok()) << step.status();
    ASSERT_EQ(*step, 1);
    ASSERT_THAT(
        said, ElementsAre(
                  AllOf(HasSubstr("step_00000002"),
                        HasSubstr(name == kManifestFile ? "manifest" : name))));
    ASSERT_FALSE(fs::exists(root_.Path("step_00000002")));
    fs::rename(root_.Path("step_00000002.damaged"),
               root_.Path("step_00000002"));
  }

  // The test harms what it says it harms, and nothing stays harmed.
  void TearDown() override {
    std::vector<std::string> said;
    const absl::StatusOr<int64_t> step = checkpoint_.Find(root_.path(), &said);
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_EQ(*step, 2);
    EXPECT_THAT(said, IsEmpty());
  }

  SmallCheckpoint checkpoint_;
  TemporaryDirectory root_;
  std::vector<std::string> names_;
};

TEST_F(CorruptionTest, AGoodCheckpointRaisesNoAlarmHoweverOftenItIsRead) {
  for (int i = 0; i < 10; ++i) TearDown();
}

TEST_F(CorruptionTest, OneBitFlippedInAByteIsFound) {
  for (const std::string& name : names_) {
    const std::string good = root_.Read(Newest(name));
    for (size_t i = 0; i < good.size(); i += Stride(name, i)) {
      std::string damaged = good;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
      ExpectFallsBack(name, &damaged);
      if (HasFatalFailure()) FAIL() << name << " byte " << i;
    }
  }
}

TEST_F(CorruptionTest, AFileThatIsCutOrGrownIsFound) {
  for (const std::string& name : names_) {
    const std::string good = root_.Read(Newest(name));
    for (size_t length = 0; length < good.size();
         length += Stride(name, length)) {
      const std::string cut = good.substr(0, length);
      ExpectFallsBack(name, &cut);
      if (HasFatalFailure()) FAIL() << name << " cut to " << length;
    }
    const std::string grown = good + '\0';
    ExpectFallsBack(name, &grown);
    if (HasFatalFailure()) FAIL() << name << " grown";
  }
}

TEST_F(CorruptionTest, AMissingFileIsFound) {
  for (const std::string& name : names_) {
    ExpectFallsBack(name, nullptr);
    if (HasFatalFailure()) FAIL() << name;
  }
}

// Of the same name and size, whole in itself.
TEST_F(CorruptionTest, AFileOfAnotherStepIsFound) {
  int differ = 0;
  for (const std::string& name : names_) {
    const std::string other = root_.Read("step_00000001/" + name);
    if (other == root_.Read(Newest(name))) continue;
    ++differ;
    ExpectFallsBack(name, &other);
    if (HasFatalFailure()) FAIL() << name;
  }
  EXPECT_GE(differ, 4);  // two of weights, the moments, the manifest
}

// All files are whole and agree.
TEST_F(CorruptionTest, ACheckpointUnderTheNameOfAnotherStepIsNoneOfThatStep) {
  fs::rename(root_.Path("step_00000002"), root_.Path("step_00000003"));
  std::vector<std::string> said;
  EXPECT_EQ(*checkpoint_.Find(root_.path(), &said), 1);
  EXPECT_THAT(said, ElementsAre(AllOf(HasSubstr("step_00000003"),
                                      HasSubstr("another step, 2"))));
  fs::rename(root_.Path("step_00000003.damaged"), root_.Path("step_00000002"));
}

TEST_F(CorruptionTest, ADirectoryInPlaceOfAFileIsFound) {
  for (const std::string& name : names_) {
    const std::string path = root_.Path(Newest(name));
    fs::rename(path, root_.Path("aside"));
    fs::create_directory(path);
    ExpectFallsBack(name);
    fs::remove(path);
    fs::rename(root_.Path("aside"), path);
    if (HasFatalFailure()) FAIL() << name;
  }
}

TEST_F(CorruptionTest, WithoutAWholeOneNothingIsFoundAndBothAreNamed) {
  for (const char* step : {"step_00000001", "step_00000002"})
    fs::rename(root_.Path(absl::StrCat(step, "/", kManifestFile)),
               root_.Path(absl::StrCat(step, "/aside")));
  std::vector<std::string> said;
  EXPECT_EQ(checkpoint_.Find(root_.path(), &said).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_THAT(said, ElementsAre(HasSubstr("step_00000002"),
                                HasSubstr("step_00000001")));
  for (const char* step : {"step_00000001", "step_00000002"}) {
    fs::rename(root_.Path(absl::StrCat(step, ".damaged")), root_.Path(step));
    fs::rename(root_.Path(absl::StrCat(step, "/aside")),
               root_.Path(absl::StrCat(step, "/", kManifestFile)));
  }
}

}  // namespace
}  // namespace moe
