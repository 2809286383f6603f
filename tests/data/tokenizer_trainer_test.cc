#include "data/text/tokenizer_trainer.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "comm/mpi/roster.h"
#include "data/text/sentencepiece_model.h"
#include "data/text/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/generated_text.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class TokenizerTrainerTest : public ::testing::Test {
 protected:
  TokenizerTrainerTest() {
    options_.vocab_size = 400;
    options_.output = directory_.Path("tokenizer.model");
  }

  void Input(const std::string& name, const std::string& contents) {
    options_.inputs.push_back(directory_.Write(name, contents));
  }

  // A program that stands in for spm_train.
  void Program(const std::string& script) {
    options_.program = directory_.Write("fake", "#!/bin/sh\n" + script);
    std::filesystem::permissions(options_.program,
                                 std::filesystem::perms::owner_all);
  }

  std::vector<std::string> Names() {
    return *PosixFileSystem().List(directory_.path());
  }

  TemporaryDirectory directory_;
  TokenizerTrainerOptions options_;
};

TEST_F(TokenizerTrainerTest, TrainsAVocabularyLikeMixtrals) {
  const std::string text = GeneratedText(50000, 1);
  Input("a.txt", text);
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre("a.txt", "tokenizer.model"));

  const auto tokenizer = *Tokenizer::Load(options_.output);
  EXPECT_EQ(tokenizer->vocab_size(), 400);
  EXPECT_EQ(tokenizer->unk_id(), 0);
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  const SentencePieceModel& model = tokenizer->model();
  EXPECT_EQ(model.byte_ids[0], 3);
  EXPECT_TRUE(model.byte_fallback);
  EXPECT_TRUE(model.add_dummy_prefix);
  EXPECT_FALSE(model.remove_extra_whitespaces);
  for (const SentencePiece& piece : model.pieces) {
    if (piece.type != PieceType::kNormal || piece.text.size() == 1) continue;
    EXPECT_EQ(piece.text.find_first_of("0123456789"), std::string::npos);
  }
  std::vector<int32_t> ids;
  tokenizer->Encode(text, ids);
  EXPECT_LT(ids.size(), text.size() / 2);
  EXPECT_EQ(tokenizer->Decode(ids), text);
}

TEST_F(TokenizerTrainerTest, TheSameTextMakesTheSameVocabulary) {
  const std::string text = GeneratedText(50000, 2);
  Input("a.txt", text);
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  const std::string first = directory_.Read("tokenizer.model");
  options_.threads = 1000;
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  const auto one = *Tokenizer::FromBytes(first);
  const auto other = *Tokenizer::Load(options_.output);
  for (int id = 0; id < 400; ++id) EXPECT_EQ(one->Piece(id), other->Piece(id));
}

TEST_F(TokenizerTrainerTest, LearnsFromEveryDocumentAndEveryPartOfALine) {
  std::string line;  // much longer than spm_train takes
  for (int i = 0; i < 30000; ++i) line += "alpha beta ";
  for (int i = 0; i < 30000; ++i) line += "\xC3\xA9";
  std::string reserved;  // lines with U+2585 would be passed over
  for (int i = 0; i < 1000; ++i) reserved += "gamma \xE2\x96\x85 delta\n";
  std::string json;
  for (int i = 0; i < 1000; ++i) {
    absl::StrAppend(&json, "{\"text\": \"epsilon\\nzeta \\u03b7\"}\n");
  }
  Input("a, b.txt", line + "\f" + reserved);
  Input("c.jsonl", json);
  options_.vocab_size = 310;
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  const auto tokenizer = *Tokenizer::Load(options_.output);
  std::vector<std::string> pieces;
  for (int id = 0; id < tokenizer->vocab_size(); ++id) {
    pieces.emplace_back(tokenizer->Piece(id));
  }
  const auto has = [&](const std::string& piece) {
    return std::find(pieces.begin(), pieces.end(), piece) != pieces.end();
  };
  for (const char* word : {"alpha", "beta", "gamma", "delta", "epsilon"}) {
    EXPECT_TRUE(has(absl::StrCat(kSpaceSymbol, word))) << word;
  }
  EXPECT_TRUE(has("\xCE\xB7"));
  EXPECT_TRUE(has("\xC3\xA9\xC3\xA9"));
  EXPECT_FALSE(has("\xEF\xBF\xBD"));  // no character was cut in two
}

TEST_F(TokenizerTrainerTest, AWordMayBeOfAnyLength) {
  Input("a.txt", GeneratedText(50000, 6));
  Input("b.txt", std::string(300000, 'x'));
  EXPECT_EQ(TrainTokenizer(options_), absl::OkStatus());
}

TEST_F(TokenizerTrainerTest, ASizeThatDoesNotFitNamesTheLimitThatDoes) {
  Input("a.txt", "hello world\nabc abc\n");
  const auto message = [&](int vocab_size) {
    options_.vocab_size = vocab_size;
    const absl::Status status = TrainTokenizer(options_);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  // 3 control pieces, 256 bytes, 11 characters with the space.
  for (const int small : {-5, 0, 1, 3, 100, 269}) {
    EXPECT_THAT(message(small),
                AllOf(HasSubstr(absl::StrCat("vocab_size is ", small, ",")),
                      HasSubstr("at least 270"), HasSubstr("a.txt")));
  }
  EXPECT_THAT(message(5000),
              AllOf(HasSubstr("vocab_size is 5000"), HasSubstr("at most 296")));
  for (const int good : {270, 296}) {
    options_.vocab_size = good;
    EXPECT_EQ(TrainTokenizer(options_), absl::OkStatus());
    EXPECT_EQ((*Tokenizer::Load(options_.output))->vocab_size(), good);
  }
}

TEST_F(TokenizerTrainerTest, ASizeThatNobodyAskedForIsWhatTheTextAllows) {
  Input("a.txt", "hello world\nabc abc\n");
  options_.may_shrink = true;
  options_.vocab_size = 5000;
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  const auto shrunk = *Tokenizer::Load(options_.output);
  ASSERT_EQ(shrunk->vocab_size(), 296);
  options_.may_shrink = false;
  options_.vocab_size = 296;
  ASSERT_EQ(TrainTokenizer(options_), absl::OkStatus());
  const auto asked = *Tokenizer::Load(options_.output);
  for (int id = 0; id < 296; ++id)
    EXPECT_EQ(shrunk->Piece(id), asked->Piece(id));
  // Every character is a piece, asked for or not.
  options_.may_shrink = true;
  options_.vocab_size = 100;
  EXPECT_EQ(TrainTokenizer(options_).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TokenizerTrainerTest, InputErrorsComeThroughAndLeaveTheOldModel) {
  directory_.Write("tokenizer.model", "old");
  options_.inputs = {directory_.Path("none.txt")};
  EXPECT_EQ(TrainTokenizer(options_).code(), absl::StatusCode::kNotFound);
  options_.inputs.clear();
  Input("b.jsonl", "{\"text\": \"\"}\n");
  const absl::Status empty = TrainTokenizer(options_);
  EXPECT_EQ(empty.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(empty.message()), HasSubstr("b.jsonl"));
  Input("c.jsonl", "{\"text\": 3}\n");
  EXPECT_THAT(std::string(TrainTokenizer(options_).message()),
              HasSubstr("c.jsonl:1: "));
  EXPECT_EQ(directory_.Read("tokenizer.model"), "old");
  EXPECT_THAT(Names(),
              UnorderedElementsAre("b.jsonl", "c.jsonl", "tokenizer.model"));
}

TEST_F(TokenizerTrainerTest, SaysHowTheChildEnded) {
  Input("a.txt", "hello world\n");
  const auto run = [&](const std::string& script) {
    Program(script);
    const absl::Status status = TrainTokenizer(options_);
    EXPECT_THAT(Names(), UnorderedElementsAre("a.txt", "fake")) << script;
    return status;
  };
  const absl::Status failed = run("echo said; echo more >&2; exit 3");
  EXPECT_EQ(failed.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.message()),
              HasSubstr("spm_train ended with exit code 3: said\nmore"));
  const absl::Status killed = run("kill -9 $$");
  EXPECT_EQ(killed.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(killed.message()), HasSubstr("signal 9 (Killed)"));
  EXPECT_EQ(run("kill -2 $$").code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(run("kill -6 $$").code(), absl::StatusCode::kInternal);
  EXPECT_EQ(run("kill -XFSZ $$").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(run("echo what: std::bad_alloc; kill -6 $$").code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(run("echo No space left on device; exit 1").code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(run("exit 0").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(run("echo nonsense > tokenizer.model").code(),
            absl::StatusCode::kDataLoss);
  options_.program = directory_.Path("none");
  EXPECT_EQ(TrainTokenizer(options_).code(), absl::StatusCode::kUnimplemented);
}

// A process that trains a vocabulary is killed.
TEST_F(TokenizerTrainerTest, TheChildEndsWithUs) {
  Input("a.txt", "hello world\n");
  const std::string path = directory_.Path("child");
  Program(absl::StrCat("echo $$ > ", path, ".new; mv ", path, ".new ", path,
                       "; exec sleep 1000"));
  const pid_t trainer = fork();
  if (trainer == 0) {
    TrainTokenizer(options_).IgnoreError();
    _exit(0);
  }
  while (!PosixFileSystem().Exists(path)) absl::SleepFor(absl::Milliseconds(5));
  const int child = std::stoi(directory_.Read("child"));
  kill(trainer, SIGKILL);
  waitpid(trainer, nullptr, 0);
  const absl::Time end = absl::Now() + absl::Minutes(1);
  const auto is_there = [&] {  // nobody may have asked how it ended
    const char state = ProcessState(child);
    return state != '\0' && state != 'Z';
  };
  while (is_there() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_FALSE(is_there());
  if (is_there()) kill(child, SIGKILL);
}

// A signal to our process group, as mpirun sends them, is not for the child.
TEST_F(TokenizerTrainerTest, TheChildIsOfAnotherProcessGroup) {
  Input("a.txt", "hello world\n");
  Program("cut -d ' ' -f 5 /proc/$$/stat; exit 1");
  const std::string said(TrainTokenizer(options_).message());
  EXPECT_THAT(said, HasSubstr("spm_train ended with exit code 1: "));
  EXPECT_THAT(said, Not(HasSubstr(absl::StrCat(": ", getpgrp(), "\n"))));
}

TEST_F(TokenizerTrainerTest, TheChildIsNoRank) {
  Input("a.txt", "hello world\n");
  Program("env | grep -E '_COMM_WORLD_RANK|PMIX_RANK|MOE_TEST'; exit 1");
  setenv("OMPI_COMM_WORLD_RANK", "1", 1);
  setenv("PMIX_RANK", "1", 1);
  setenv("MOE_TEST", "stays", 1);
  const absl::Status status = TrainTokenizer(options_);
  unsetenv("OMPI_COMM_WORLD_RANK");
  unsetenv("PMIX_RANK");
  unsetenv("MOE_TEST");
  EXPECT_EQ(status.message(),
            "spm_train ended with exit code 1: MOE_TEST=stays\n");
}

}  // namespace
}  // namespace moe
