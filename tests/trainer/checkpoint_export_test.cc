#include "trainer/checkpoint/tools/checkpoint_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/dtype.h"
#include "nlohmann/json.hpp"
#include "tests/data/temporary_directory.h"
#include "tests/fake_file_system.h"
#include "tests/trainer/checkpoint_builder.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/half.h"

namespace moe {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kGate[] = "model.layers.0.block_sparse_moe.gate.weight";

class CheckpointExportTest : public testing::Test {
 protected:
  // Embedding and head are read in several pieces.
  CheckpointExportTest() : builder_(/*vocab_size=*/20000) {
    // Values that must be rounded.
    for (auto& [name, values] : builder_.weights)
      for (float& value : values) value *= 1.2345678f;
    options_.output = directory_.Path("out");
  }

  absl::StatusOr<ExportedCheckpoint> Export() { return ExportTo(files_); }
  absl::StatusOr<ExportedCheckpoint> ExportTo(FileSystem& files) {
    if (!PosixFileSystem().Exists(source())) builder_.Write(source());
    const auto stored = OpenStoredCheckpoint(files, source());
    if (!stored.ok()) return stored.status();
    return ExportCheckpoint(files, *stored, options_,
                            [](const std::string&, int64_t, int64_t) {});
  }

  std::string source() const { return directory_.Path("step_00000007"); }

  // Every weight of the output is `round` of the source's.
  template <typename Round>
  void ExpectRounded(StoredDType dtype, const Round& round) {
    const auto out = OpenStoredCheckpoint(files_, options_.output);
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_TRUE(out->weights->Check(builder_.Table()).ok());
    for (const WeightsLoader::Entry& entry : out->weights->Entries()) {
      EXPECT_EQ(entry.dtype, dtype);
      const std::vector<float>& values = builder_.weights.at(entry.name);
      std::vector<float> read(values.size());
      ASSERT_TRUE(
          out->weights->LoadParameter(entry.name, 0, absl::MakeSpan(read))
              .ok());
      for (size_t i = 0; i < read.size(); ++i)
        ASSERT_EQ(read[i], round(values[i])) << entry.name << " " << i;
    }
  }

  TemporaryDirectory directory_;
  FakeFileSystem files_;
  CheckpointBuilder builder_;
  ExportOptions options_;
};

TEST_F(CheckpointExportTest, EveryValueIsTheNearest) {
  const auto exported = Export();
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_THAT(exported->weight_files, ElementsAre(kSingleWeightsFile));
  EXPECT_EQ(exported->num_tensors, 41);
  ExpectRounded(StoredDType::kBF16,
                [](float x) { return ToFloat(ToBFloat16(x)); });

  options_ = {.output = directory_.Path("half"), .dtype = StoredDType::kF16};
  ASSERT_TRUE(Export().ok());
  ExpectRounded(StoredDType::kF16,
                [](float x) { return HalfToFloat(FloatToHalf(x)); });

  options_ = {.output = directory_.Path("single"), .dtype = StoredDType::kF32};
  ASSERT_TRUE(Export().ok());
  ExpectRounded(StoredDType::kF32, [](float x) { return x; });
}

TEST_F(CheckpointExportTest, TheDirectoryIsWhatTransformersWants) {
  ASSERT_TRUE(Export().ok());
  EXPECT_THAT(*files_.List(options_.output),
              ElementsAre(kConfigFile, kGenerationConfigFile,
                          kSingleWeightsFile, kTokenizerFile));
  EXPECT_EQ(directory_.Read("out/tokenizer.model"), "pieces");
  const auto config = nlohmann::json::parse(directory_.Read("out/config.json"));
  auto expected =
      nlohmann::json::parse(directory_.Read("step_00000007/config.json"));
  expected["dtype"] = "bfloat16";
  expected["torch_dtype"] = "bfloat16";
  EXPECT_EQ(config, expected);
}

TEST_F(CheckpointExportTest, ShardsAreNoLargerThanAsked) {
  options_.max_shard_bytes = 400'000;
  const auto exported = Export();
  ASSERT_TRUE(exported.ok()) << exported.status();
  const size_t count = exported->weight_files.size();
  EXPECT_GE(static_cast<int64_t>(count) * 400'000, exported->num_bytes);
  EXPECT_EQ(exported->weight_files[0],
            WeightsFileName(0, static_cast<int>(count)));
  for (const std::string& name : exported->weight_files) {
    const auto file =
        SafetensorsFile::Open(files_, JoinPath(options_.output, name));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_LE(file->tensors().back().end, 400'000u);
  }
  const auto index = nlohmann::json::parse(
      directory_.Read("out/model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], exported->num_bytes);
  ExpectRounded(StoredDType::kBF16,
                [](float x) { return ToFloat(ToBFloat16(x)); });
  // Smaller than every tensor: a file each.
  options_ = {.output = directory_.Path("tiny"), .max_shard_bytes = 1};
  EXPECT_EQ(Export()->weight_files.size(), 41u);
}

TEST_F(CheckpointExportTest, ManyThreadsWriteTheSameBytes) {
  options_.max_shard_bytes = 400'000;
  const auto one = Export();
  ASSERT_TRUE(one.ok()) << one.status();
  options_.output = directory_.Path("many");
  options_.threads = 4;
  const auto many = ExportTo(PosixFileSystem());
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ(many->weight_files, one->weight_files);
  EXPECT_EQ(many->num_tensors, one->num_tensors);
  EXPECT_EQ(many->num_bytes, one->num_bytes);
  const std::vector<std::string> names = *files_.List(directory_.Path("out"));
  EXPECT_EQ(*files_.List(options_.output), names);
  for (const std::string& name : names)
    EXPECT_EQ(directory_.Read("many/" + name), directory_.Read("out/" + name));
}

// Of several files on as many threads, the first that has one is told.
TEST_F(CheckpointExportTest, ThreadsThatFailLeaveNothing) {
  options_.max_shard_bytes = 1;
  options_.dtype = StoredDType::kF16;
  options_.threads = 4;
  for (const char* name : {kGate, "lm_head.weight"})
    builder_.weights.at(name)[3] = 65520;
  const absl::Status status = ExportTo(PosixFileSystem()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kGate));
  EXPECT_THAT(*files_.List(directory_.path()), ElementsAre("step_00000007"));
}

TEST_F(CheckpointExportTest, WhatHalfCannotHoldIsAnErrorThatNamesTheTensor) {
  builder_.weights[kGate][3] = 65520;
  options_.dtype = StoredDType::kF16;
  const absl::Status status = Export().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kGate));
  EXPECT_THAT(std::string(status.message()), HasSubstr("65520"));
  EXPECT_THAT(*files_.List(directory_.path()), ElementsAre("step_00000007"));
  options_.dtype = StoredDType::kBF16;
  EXPECT_TRUE(Export().ok());
}

TEST_F(CheckpointExportTest, ValuesThatAreNotFiniteAreNotExported) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(),
                            -std::numeric_limits<float>::infinity()}) {
    builder_.weights["lm_head.weight"][70000] = value;
    ASSERT_TRUE(files_.Remove(source()).ok());
    builder_.Write(source());
    const absl::Status status = Export().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(absl::StrCat("lm_head.weight holds values that are "
                                       "not finite, the first (",
                                       value, ") at element 70000")));
    EXPECT_THAT(*files_.List(directory_.path()), ElementsAre("step_00000007"));
  }
}

TEST_F(CheckpointExportTest, RoundingLeavesWhatIsInfinite) {
  std::string bytes;
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(
      AppendRounded({infinity, -infinity}, StoredDType::kF16, bytes).ok());
  EXPECT_EQ(bytes, std::string("\x00\x7c\x00\xfc", 4));
  EXPECT_FALSE(AppendRounded({std::numeric_limits<float>::max()},
                             StoredDType::kBF16, bytes)
                   .ok());
}

TEST_F(CheckpointExportTest, WhatIsThereIsNotTouched) {
  for (const char* name : {"out", "out.tmp"}) {
    const std::string path = directory_.Write(name, "mine");
    EXPECT_EQ(Export().status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(directory_.Read(name), "mine");
    ASSERT_TRUE(files_.Remove(path).ok());
  }
  EXPECT_TRUE(Export().ok());
}

TEST_F(CheckpointExportTest, DamagedWeightsAreNotExported) {
  builder_.Write(source());
  FlipBit(JoinPath(source(), kSingleWeightsFile), 9000);
  const absl::Status status = Export().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kSingleWeightsFile));
  EXPECT_FALSE(files_.Exists(options_.output));
}

TEST_F(CheckpointExportTest, WhateverTheDiskRefusesNothingHalfStays) {
  options_.max_shard_bytes = 400'000;
  ASSERT_TRUE(Export().ok());
  const int64_t writes = files_.num_writes();
  ASSERT_GT(writes, 30);
  ASSERT_TRUE(files_.Remove(options_.output).ok());
  // The last one is the sync of the parent, after the rename.
  for (int64_t i = 1; i < writes; ++i) {
    files_.FailWrite(i);
    EXPECT_EQ(Export().status().code(), absl::StatusCode::kAborted) << i;
    EXPECT_THAT(*files_.List(directory_.path()), ElementsAre("step_00000007"))
        << i;
  }
}

TEST_F(CheckpointExportTest, TheNameIsGivenAfterAllIsSynced) {
  ASSERT_TRUE(Export().ok());
  const std::vector<std::string>& log = files_.log();
  ASSERT_GE(log.size(), 3u);
  EXPECT_EQ(log[log.size() - 3], "sync directory " + options_.output + ".tmp");
  EXPECT_EQ(log[log.size() - 2],
            "rename " + options_.output + ".tmp to " + options_.output);
  EXPECT_EQ(log.back(), "sync directory " + directory_.path());
  for (const std::string& made : log) {
    const std::string create = "create ";
    if (made.substr(0, create.size()) == create) {
      EXPECT_THAT(log, Contains("sync " + made.substr(create.size())));
    }
  }
}

}  // namespace
}  // namespace moe
