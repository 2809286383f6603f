#include "launch/command/train_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "launch/command/presets.h"
#include "tests/data/model_builder.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

absl::StatusOr<TrainCommand> Parse(std::vector<const char*> words,
                                   int world = 1) {
  words.insert(words.begin(), "moe-train");
  return ParseTrainCommand(static_cast<int>(words.size()), words.data(), world);
}

std::string ErrorOf(const std::vector<const char*>& words, int world = 1) {
  const auto command = Parse(words, world);
  EXPECT_EQ(command.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(command.status().message());
}

// What a dry run would end with.
absl::Status DryRunOf(std::vector<const char*> words) {
  words.push_back("--dry-run");
  const auto command = Parse(words);
  if (!command.ok()) return command.status();
  EXPECT_TRUE(command->dry_run);
  EXPECT_THAT(command->text, HasSubstr("Memory of the largest rank"));
  return DryRunStatus("moe-train", *command);
}

void ExpectRefused(const std::vector<const char*>& words, absl::StatusCode code,
                   const std::string& message) {
  const absl::Status status = DryRunOf(words);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(TrainCommand, BareItTrainsTheQuickStart) {
  const auto command = Parse({}, 16);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->text, "");
  EXPECT_EQ(command->config.run().directory(), "runs/quickstart");
  EXPECT_EQ(command->config.data().train().source(0).path(), "share:kjv.txt");
}

TEST(TrainCommand, OverridesComeAfterThePreset) {
  const auto command = Parse({"data.train=a.txt", "--preset=e64",
                              "schedule.steps=5", "schedule.warmup_steps=1"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_EQ(command->config.model().num_local_experts(), 64);
  EXPECT_EQ(command->config.schedule().steps(), 5);
}

TEST(TrainCommand, WhatItPrintsItTakesBack) {
  for (const Preset& preset : Presets()) {
    const std::string flag = "--preset=" + std::string(preset.name);
    const auto printed = Parse({flag.c_str(), "--print-config", "run.seed=9"});
    ASSERT_TRUE(printed.ok()) << printed.status();
    const std::string path = ::testing::TempDir() + "/printed.textproto";
    std::ofstream(path) << printed->text;
    const auto again = Parse({"--config", path.c_str(), "--print-config"});
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->text, printed->text);
    EXPECT_THAT(again->text, HasSubstr("seed: 9"));
  }
}

TEST(TrainCommand, DryRunPretendsAnyNumberOfRanks) {
  const auto command =
      Parse({"--preset=mixtral-8x7b", "--dry-run", "--ranks=1024"}, 4);
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_THAT(command->text, HasSubstr("1024 ranks: data 1024"));
  EXPECT_THAT(command->text, HasSubstr("46,702,792,704"));
  // A plan needs no data: a word, no refusal.
  EXPECT_THAT(command->text, HasSubstr("Note: data.train is empty"));
  EXPECT_TRUE(DryRunStatus("moe-train", *command).ok());
  EXPECT_THAT(Parse({"--dry-run"}, 4)->text, HasSubstr("4 ranks: data 4"));
}

TEST(TrainCommand, DryRunRefusesWhatCannotRun) {
  EXPECT_THAT(ErrorOf({"--dry-run", "--ranks=10", "parallel.expert=4"}),
              HasSubstr("the nearest numbers of ranks are 8 and 12"));
  for (const char* ranks : {"--ranks=0", "--ranks=-5", "--ranks=99999999999"})
    EXPECT_EQ(ErrorOf({"--dry-run", ranks}),
              std::string(ranks).replace(7, 1, " is ") +
                  ", must be from 1 to 1048576");
}

TEST(TrainCommand, DryRunEndsAsTheRunWouldOnWhatIsNotHere) {
  ExpectRefused({"data.train=nowhere.txt"}, absl::StatusCode::kNotFound,
                "data.train: there is no file nowhere.txt");
  const std::string text = ::testing::TempDir() + "/here.txt";
  std::ofstream(text) << "text\n";
  const std::string data = "data.train=" + text;
  ExpectRefused({"--init-from=nowhere", "schedule.steps=1", data.c_str()},
                absl::StatusCode::kNotFound,
                "--init-from: nowhere: no such directory");
  ExpectRefused({"--resume=nowhere", data.c_str()}, absl::StatusCode::kNotFound,
                "--resume is nowhere, which holds no complete checkpoint");
  EXPECT_TRUE(DryRunOf({data.c_str()}).ok()) << DryRunOf({data.c_str()});
}

TEST(TrainCommand, DryRunEndsAsTheRunWouldOnWhatItRefusesHere) {
  const std::string empty = ::testing::TempDir() + "/empty.txt";
  std::ofstream(empty) << "";
  const std::string data = "data.train=" + empty;
  ExpectRefused({data.c_str()}, absl::StatusCode::kFailedPrecondition,
                "data.train: " + empty + " is empty");
  const std::string text = ::testing::TempDir() + "/here.txt";
  std::ofstream(text) << "text\n";
  const std::string good = "data.train=" + text;
  const std::string directory = "run.directory=" + empty + "/a/b";
  ExpectRefused({good.c_str(), directory.c_str()}, absl::StatusCode::kAborted,
                "run.directory is " + empty +
                    "/a/b, which cannot be written to: " + empty +
                    ": Not a directory");
  // All are told; the code is that of the first.
  ExpectRefused({data.c_str(), directory.c_str()},
                absl::StatusCode::kFailedPrecondition,
                empty + " is empty\nmoe-train: run.directory is ");
}

TEST(TrainCommand, DryRunNotesATokenizerThatCannotBeExported) {
  ModelBuilder model;
  model.Add({"a"}).Add("b", -1, PieceType::kUnused);
  const std::string path = ::testing::TempDir() + "/unused.model";
  std::ofstream(path, std::ios::binary) << model.Serialize();
  const std::string text = ::testing::TempDir() + "/some,text.txt";
  std::ofstream(text) << "aa\n";
  const std::string tokenizer = "data.tokenizer=" + path;
  const std::string data =
      "data.train=" + absl::StrReplaceAll(text, {{",", "\\,"}});
  EXPECT_THAT(
      Parse({"--dry-run", data.c_str(), tokenizer.c_str()})->text,
      HasSubstr("Note: tokenizer.json cannot say what tokenizer.model means "
                "and is left out: piece 4 (\"b\") is unused; read "
                "tokenizer.model by sentencepiece\n"));
  EXPECT_THAT(Parse({"--dry-run", data.c_str()})->text,
              Not(HasSubstr("tokenizer.json")));
}

TEST(TrainCommand, DryRunNotesAVocabularyThatTheTextDoesNotAllow) {
  const std::string text = ::testing::TempDir() + "/small.txt";
  std::ofstream(text) << "hello world\nabc abc\n";
  const std::string data = "data.train=" + text;
  EXPECT_THAT(Parse({"--dry-run", data.c_str()})->text,
              HasSubstr("Note: model.vocab_size will be 296, not 4096: the "
                        "text allows no more pieces"));
  ExpectRefused({data.c_str(), "model.vocab_size=4096"},
                absl::StatusCode::kInvalidArgument,
                "model.vocab_size is 4096, must be at most 296 for " + text);
  EXPECT_THAT(Parse({"--dry-run", data.c_str(), "model.vocab_size=296"})->text,
              Not(HasSubstr("Note: model.vocab_size")));
  EXPECT_TRUE(Parse({data.c_str()})->start.vocab_size_may_shrink);
  EXPECT_FALSE(Parse({data.c_str(), "model.vocab_size=296"})
                   ->start.vocab_size_may_shrink);
}

TEST(TrainCommand, ACommaInANameIsToldOf) {
  ExpectRefused({"data.train=some,text.txt"}, absl::StatusCode::kNotFound,
                "there is no file some.idx (a comma divides names; one in a "
                "name is typed as \\,)");
}

TEST(TrainCommand, WhatWasNotTypedGivesWay) {
  const auto short_run =
      Parse({"--preset=e8", "data.train=me.txt", "schedule.steps=30"});
  ASSERT_TRUE(short_run.ok()) << short_run.status();
  EXPECT_EQ(short_run->config.schedule().warmup_steps(), 3);
  EXPECT_THAT(short_run->notes,
              ElementsAre("schedule.warmup_steps is 3, not the preset's 100: "
                          "the run has 30 steps"));
  const auto small_batch =
      Parse({"--preset=e8", "data.train=me.txt", "batch.global_size=1"});
  ASSERT_TRUE(small_batch.ok()) << small_batch.status();
  EXPECT_EQ(small_batch->config.batch().micro_size(), 1);
  EXPECT_THAT(Parse({"--preset=e8", "schedule.steps=30", "--dry-run"})->text,
              HasSubstr("Note: schedule.warmup_steps is 3"));
  EXPECT_THAT(
      Parse({"--preset=e8", "schedule.steps=30", "--print-config"})->text,
      HasSubstr("warmup_steps: 3\n"));
  // Typed values do not, on the command line or in a file.
  EXPECT_THAT(ErrorOf({"data.train=me.txt", "schedule.steps=30",
                       "schedule.warmup_steps=31"}),
              HasSubstr("schedule.warmup_steps is 31, must be from 0 to "
                        "schedule.steps (30)"));
  const std::string path = ::testing::TempDir() + "/typed.textproto";
  std::ofstream(path) << "schedule { steps: 100 warmup_steps: 40 }";
  const std::string flag = "--config=" + path;
  EXPECT_THAT(ErrorOf({flag.c_str(), "data.train=a.txt", "schedule.steps=30"}),
              HasSubstr("schedule.warmup_steps is 40, must be from 0 to "
                        "schedule.steps (30)"));
}

TEST(TrainCommand, InitFromStartsFromDefaultsUnlessAPresetIsNamed) {
  const char* source = "--init-from=nowhere";
  ExpectRefused({source, "schedule.steps=1"}, absl::StatusCode::kNotFound,
                "--init-from: nowhere: no such directory");
  EXPECT_EQ(Parse({source, "schedule.steps=1"}).status().code(),
            absl::StatusCode::kNotFound);
  const auto quick = Parse({source, "--preset=quickstart", "--dry-run"});
  ASSERT_TRUE(quick.ok()) << quick.status();
  EXPECT_EQ(quick->config.run().directory(), "runs/quickstart");
}

TEST(TrainCommand, ListsThePresets) {
  const auto command = Parse({"--list-presets"});
  ASSERT_TRUE(command.ok());
  EXPECT_THAT(command->text, StartsWith("quickstart     A small model"));
  EXPECT_THAT(command->text, HasSubstr("\nmixtral-8x7b   Mixtral 8x7B"));
}

TEST(TrainCommand, WrongUsageIsNamed) {
  EXPECT_THAT(ErrorOf({"--preset=e9"}), HasSubstr("did you mean 'e8'?"));
  EXPECT_THAT(ErrorOf({"--preset=e8", "--config=x"}), HasSubstr("exclude"));
  EXPECT_THAT(ErrorOf({"--config=/nowhere/x"}), HasSubstr("/nowhere/x"));
  EXPECT_THAT(ErrorOf({"--init-from=", "--preset=e8"}),
              HasSubstr("--init-from is empty, must be a directory"));
  EXPECT_THAT(ErrorOf({"--preset="}), HasSubstr("--preset is empty"));
  EXPECT_THAT(ErrorOf({"--config", ""}), HasSubstr("--config is empty"));
  EXPECT_THAT(ErrorOf({"--resume="}), HasSubstr("auto, none or a directory"));
  EXPECT_THAT(ErrorOf({"--resume=runs/a", "--init-from=b"}),
              HasSubstr("exclude each other"));
  EXPECT_THAT(ErrorOf({"--ranks=4"}), HasSubstr("--dry-run only"));
  EXPECT_THAT(ErrorOf({"--dry-rum"}), HasSubstr("did you mean --dry-run?"));
  EXPECT_EQ(ErrorOf({"--dry-run=yes"}),
            "--dry-run is given the value 'yes', must be given without one");
  EXPECT_THAT(ErrorOf({"model.hiden_size=3"}), HasSubstr("model.hidden_size"));
  EXPECT_THAT(ErrorOf({"--preset=e8"}), HasSubstr("data.train is empty"));
  EXPECT_THAT(ErrorOf({"parallel.expert=3"}), HasSubstr("parallel.expert"));
}

// As other trainers take them.
TEST(TrainCommand, AKeyThatIsTypedAsAFlagIsTold) {
  EXPECT_EQ(ErrorOf({"--lr=3e-4"}),
            "there is no flag --lr; did you mean "
            "optimizer.learning_rate=3e-4?");
  // A value of another kind is no value of ours.
  EXPECT_THAT(ErrorOf({"--bf16=true"}),
              HasSubstr("did you mean run.compute_dtype=...?"));
  EXPECT_EQ(ErrorOf({"--seed", "3"}),
            "there is no flag --seed; did you mean run.seed=...?");
  for (const auto& [flag, key] :
       std::vector<std::pair<const char*, std::string>>{
           {"--steps=9", "schedule.steps=9"},
           {"--batch-size=9", "batch.global_size=9"},
           {"--ep=2", "parallel.expert=2"},
           {"--output_dir=a=b", "run.directory=a=b"},
           {"--schedule.steps=9", "schedule.steps=9"},
           {"--resum=none", "--resume"},
           {"--init=a", "--init-from"},
           {"--rank=4", "--ranks"},
           {"--hlep", "--help"}})
    EXPECT_THAT(ErrorOf({flag}), HasSubstr("did you mean " + key + "?"));
}

TEST(TrainCommand, AutoAndNoneAreWaysToResume) {
  EXPECT_TRUE(Parse({"--resume=auto"}).ok());
  EXPECT_TRUE(Parse({"--resume=none"}).ok());
}

TEST(TrainCommand, AnErrorInAFileSaysWhere) {
  const std::string path = ::testing::TempDir() + "/wrong.textproto";
  std::ofstream(path) << "model {\n  hiden_size: 1\n}\n";
  const std::string flag = "--config=" + path;
  EXPECT_THAT(ErrorOf({flag.c_str()}), StartsWith(path + ":2:13: "));
}

TEST(TrainCommand, WarningsComeWithTheCommand) {
  EXPECT_THAT(Parse({"router.force_balance=true"})->warnings,
              ElementsAre(HasSubstr("benchmarks only")));
}

}  // namespace
}  // namespace moe
