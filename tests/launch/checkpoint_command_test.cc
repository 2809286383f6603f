#include "launch/command/checkpoint_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "comm/base/cores.h"
#include "comm/base/exit_code.h"
#include "launch/command/checkpoint_text.h"
#include "launch/command/text_table.h"

namespace moe {
namespace {

using Action = CheckpointCommand::Action;
using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<CheckpointCommand> Parse(
    const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"moe-checkpoint"};
  for (const std::string& argument : arguments)
    argv.push_back(argument.c_str());
  return ParseCheckpointCommand(static_cast<int>(argv.size()), argv.data());
}

void ExpectUsageError(const std::vector<std::string>& arguments,
                      const std::string& words) {
  const absl::Status status = Parse(arguments).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(CheckpointCommand, WordsAreTheCommandAndItsPaths) {
  const auto diff = Parse({"diff", "--optimizer", "a", "b", "--threads=3"});
  ASSERT_TRUE(diff.ok()) << diff.status();
  EXPECT_EQ(diff->action, Action::kDiff);
  EXPECT_THAT(diff->paths, ElementsAre("a", "b"));
  EXPECT_TRUE(diff->optimizer);
  EXPECT_EQ(diff->threads, 3);
  EXPECT_EQ(Parse({"verify", "a", "b", "c"})->paths.size(), 3u);
  EXPECT_EQ(Parse({"list", "a"})->threads, AvailableCores());
  EXPECT_TRUE(Parse({"inspect", "a", "--tensors", "--json"})->tensors);
}

TEST(CheckpointCommand, ExportHasDefaults) {
  const ExportOptions options =
      Parse({"export", "a", "--output=b/"})->export_options;
  EXPECT_EQ(options.output, "b");
  EXPECT_EQ(options.dtype, StoredDType::kBF16);
  EXPECT_EQ(options.max_shard_bytes, 5'000'000'000);
  EXPECT_EQ(Parse({"export", "a", "--output=b", "--dtype=float16",
                   "--max-shard-size=2MiB"})
                ->export_options.max_shard_bytes,
            2 << 20);
}

TEST(CheckpointCommand, WhatIsTypedWronglyIsNamed) {
  ExpectUsageError({}, "list, inspect, verify, diff, export");
  ExpectUsageError({"verfy", "a"}, "'verfy'; did you mean verify?");
  ExpectUsageError({"list"}, "list takes RUN, has 0 paths");
  ExpectUsageError({"diff", "a"}, "diff takes A B, has 1 path");
  ExpectUsageError({"list", ""}, "an empty path");
  ExpectUsageError({"list", "a", "--tensors"}, "--tensors is no flag of list");
  ExpectUsageError({"verify", "a", "--output=b"}, "--output is no flag of");
  ExpectUsageError({"export", "a", "--output=b", "--json"},
                   "--json is no flag");
  ExpectUsageError({"export", "a"}, "--output is missing");
  ExpectUsageError({"export", "a", "--output=b", "--dtype=int8"},
                   "--dtype is 'int8'");
  ExpectUsageError({"list", "a", "--threads=-1"}, "--threads is -1");
  ExpectUsageError({"list", "a", "--jsn"}, "did you mean --json?");
}

TEST(CheckpointCommand, BytesHaveUnits) {
  EXPECT_EQ(*ParseBytes("x", "1"), 1);
  EXPECT_EQ(*ParseBytes("x", "5GB"), 5'000'000'000);
  EXPECT_EQ(*ParseBytes("x", "3KiB"), 3072);
  EXPECT_EQ(*ParseBytes("x", "9223372036854775807"),
            std::numeric_limits<int64_t>::max());
  for (const char* text : {"", "GB", "0", "0GB", "-1", "5gb", "5 GB", "1.5GB",
                           "9223372036854776KB", "99999999999999999999"}) {
    EXPECT_EQ(ParseBytes("x", text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(CheckpointCommand, HelpHasEveryCommandFlagAndCode) {
  const std::string help = Parse({"--help"})->text;
  for (const char* part :
       {"list RUN ", "inspect CHECKPOINT ", "verify CHECKPOINT...", "diff A B ",
        "export CHECKPOINT ", "--json ", "--optimizer ", "--tensors ",
        "--output=DIRECTORY ", "--dtype=TYPE ", "--max-shard-size=SIZE ",
        "\n  0   done\n  1   diff: the checkpoints differ\n  64  usage"})
    EXPECT_THAT(help, HasSubstr(part));
}

TEST(CheckpointCommand, TheCodeOfADifferenceMeansNothingElse) {
  for (int code = 0; code <= 16; ++code)
    EXPECT_NE(ExitCode(absl::Status(static_cast<absl::StatusCode>(code), "x")),
              kExitDiffers);
}

TEST(CheckpointCommand, ColumnsStandBelowEachOther) {
  EXPECT_EQ(
      TextTable({{"n", "name", "x"}, {"10", "a", ""}}, {true, false, false}),
      " n  name  x\n10  a\n");
}

TEST(CheckpointCommand, ADifferenceThatIsNoNumberIsNullInJson) {
  const std::vector<TensorDifference> differences = {
      {.name = "a",
       .state = "",
       .kind = TensorDifference::Kind::kElements,
       .note = "",
       .largest = std::numeric_limits<double>::quiet_NaN(),
       .relative = std::numeric_limits<double>::infinity()},
      {.name = "b", .state = "", .note = ""}};
  EXPECT_EQ(DiffJson(differences),
            "{\"tensor\":\"a\",\"equal\":false,\"kind\":\"elements\","
            "\"largest\":null,\"relative\":null}\n"
            "{\"tensor\":\"b\",\"equal\":true,\"kind\":\"equal\","
            "\"largest\":0.0,\"relative\":0.0}\n");
  EXPECT_EQ(DiffText(differences),
            "largest  relative  tensor\n"
            "    nan       inf  a\n"
            "1 of 2 tensors differ; 1 are equal to the bit\n");
}

}  // namespace
}  // namespace moe
