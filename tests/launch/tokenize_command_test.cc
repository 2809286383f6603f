#include "launch/command/tokenize_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "comm/base/cores.h"
#include "data/storage/file_system.h"
#include "tests/data/generated_text.h"
#include "tests/data/model_builder.h"
#include "tests/data/temporary_directory.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

absl::StatusOr<TokenizeCommand> Parse(
    const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"moe-tokenize"};
  for (const std::string& argument : arguments) {
    argv.push_back(argument.c_str());
  }
  return ParseTokenizeCommand(static_cast<int>(argv.size()), argv.data());
}

absl::StatusOr<std::string> RunWith(const std::vector<std::string>& arguments,
                                    std::vector<std::string>* said = nullptr) {
  absl::StatusOr<TokenizeCommand> command = Parse(arguments);
  if (!command.ok()) return command.status();
  return RunTokenizeCommand(
      *command, [](const std::string&, int64_t, int64_t) {},
      [said](const std::string& line) {
        if (said != nullptr) said->push_back(line);
      });
}

void ExpectUsageError(const std::vector<std::string>& arguments,
                      const std::string& words) {
  const absl::Status status = RunWith(arguments).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(words));
}

TEST(TokenizeCommand, InputsAreTakenInTheOrderTheyAreGiven) {
  auto command = Parse({"--input=b.txt", "--output=out.bin", "--input",
                        "a.jsonl", "--workers=3"});
  ASSERT_TRUE(command.ok()) << command.status();
  EXPECT_THAT(command->inputs, ElementsAre("b.txt", "a.jsonl"));
  EXPECT_EQ(command->output_prefix, "out");
  EXPECT_EQ(command->workers, 3);
  EXPECT_EQ(command->vocab_size, 8192);
  EXPECT_THAT(command->text, IsEmpty());
}

TEST(TokenizeCommand, AllCoresWorkUnlessToldOtherwise) {
  EXPECT_EQ(Parse({"--input=a.txt", "--output=o"})->workers, AvailableCores());
}

TEST(TokenizeCommand, HelpNamesEveryFlag) {
  const std::string help = Parse({"--help"})->text;
  for (const char* flag :
       {"--input=FILE", "--output=PREFIX", "--tokenizer=FILE", "--vocab-size=N",
        "--workers=N", "--inspect=PREFIX"}) {
    EXPECT_THAT(help, HasSubstr(flag));
  }
}

TEST(TokenizeCommand, WhatIsTypedWronglyIsNamed) {
  ExpectUsageError({}, "--input is missing");
  ExpectUsageError({"--input=a.txt"}, "--output is missing");
  ExpectUsageError({"--inspect=a", "--output=b"}, "--inspect writes nothing");
  ExpectUsageError({"--inspect=a", "--vocab-size=9"}, "and --workers");
  ExpectUsageError({"--input=a.txt", "--output=b", "--workers=-1"},
                   "--workers is -1, must be from 0 (the default) to 4096");
  ExpectUsageError({"--input=a.txt", "--output=b", "--vocab-size=99999999999"},
                   "--vocab-size is 99999999999");
  ExpectUsageError({"--inputs=a.txt"}, "--input");
}

TEST(TokenizeCommand, TextIsTokenizedAndShown) {
  TemporaryDirectory directory;
  const std::string model = directory.Write(
      "t.model",
      ModelBuilder().Bytes().Add({kSpaceSymbol, "th", "the"}).Serialize());
  const std::string input = directory.Write("a.txt", "the\t\"th\"\f\xC3\xA9");
  auto result = RunWith({"--input=" + input, "--output=" + directory.Path("o"),
                         "--tokenizer=" + model});
  ASSERT_TRUE(result.ok()) << result.status();
  // _the is "_" "the"; then 6 single characters around "th"; </s>.
  EXPECT_EQ(*result, directory.Path("o.bin") + ", " + directory.Path("o.idx") +
                         ": 2 documents, 11 tokens (uint16), 10 bytes of text, "
                         "0.91 bytes a token\n");

  auto shown =
      RunWith({"--inspect=" + directory.Path("o"), "--tokenizer=" + model});
  ASSERT_TRUE(shown.ok()) << shown.status();
  EXPECT_EQ(*shown, directory.Path("o") +
                        ": 2 documents, 2 sequences, 11 tokens (uint16)\n"
                        "tokens of a document: 4 to 7, mean 5.5\n"
                        "document 0, 7 tokens: \"the\\t\\\"th\\\"\"\n"
                        "document 1, 4 tokens: \"\xC3\xA9\"\n");

  auto ids = RunWith({"--inspect=" + directory.Path("o.idx")});
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, HasSubstr("document 1, 4 tokens: 259 198 172 2\n"));
}

TEST(TokenizeCommand, TextThatIsNotUtf8IsToldOfOnceAFile) {
  TemporaryDirectory directory;
  const std::string model =
      directory.Write("t.model", ModelBuilder().Bytes().Serialize());
  const std::string good = directory.Write("good.txt", "caf\xC3\xA9");
  const std::string bad = directory.Write("bad.txt", "caf\xE9\fpla\xEEt");
  std::vector<std::string> said;
  const auto result =
      RunWith({"--input=" + good, "--input=" + bad,
               "--output=" + directory.Path("o"), "--tokenizer=" + model},
              &said);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(said, ElementsAre(StartsWith("warning: " + bad +
                                           " is not all UTF-8: 2 bytes are")));
}

TEST(TokenizeCommand, OneOfAKindIsNotSeveral) {
  TemporaryDirectory directory;
  const std::string model =
      directory.Write("t.model", ModelBuilder().Bytes().Serialize());
  const std::string input = directory.Write("a.txt", "x");
  const auto result =
      RunWith({"--input=" + input, "--output=" + directory.Path("o"),
               "--tokenizer=" + model});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result, HasSubstr(": 1 document, "));
  EXPECT_THAT(*result, HasSubstr(", 1 byte of text, "));
  EXPECT_THAT(*RunWith({"--inspect=" + directory.Path("o")}),
              HasSubstr(": 1 document, 1 sequence, "));
}

TEST(TokenizeCommand, OfManyDocumentsTheFirstAreShown) {
  TemporaryDirectory directory;
  const std::string model =
      directory.Write("t.model", ModelBuilder().Bytes().Serialize());
  const std::string input =
      directory.Write("a.txt", "a\fb\fc\fd\fe\ff\f" + std::string(99, 'x'));
  ASSERT_TRUE(RunWith({"--input=" + input, "--output=" + directory.Path("o"),
                       "--tokenizer=" + model})
                  .ok());
  auto shown = RunWith({"--inspect=" + directory.Path("o")});
  EXPECT_THAT(*shown, HasSubstr("document 4"));
  EXPECT_THAT(*shown, testing::Not(HasSubstr("document 5")));
}

TEST(TokenizeCommand, ATokenizerIsTrainedBesideTheOutput) {
  TemporaryDirectory directory;
  const std::string input = directory.Write("a.txt", GeneratedText(200000, 1));
  auto result = RunWith({"--input=" + input, "--output=" + directory.Path("o"),
                         "--vocab-size=400"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result,
              StartsWith(directory.Path("o.model") + ": 400 pieces\n"));
  EXPECT_EQ((*Tokenizer::Load(directory.Path("o.model")))->vocab_size(), 400);
}

TEST(TokenizeCommand, TheDefaultSizeGivesWayToASmallText) {
  TemporaryDirectory directory;
  const std::string input = directory.Write("a.txt", "hello world\nabc abc\n");
  auto result =
      RunWith({"--input=" + input, "--output=" + directory.Path("o")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(*result,
              StartsWith(directory.Path("o.model") +
                         ": 296 pieces, not the default 8192: the text "
                         "allows no more\n"));
  ExpectUsageError({"--input=" + input, "--output=" + directory.Path("o"),
                    "--vocab-size=8192"},
                   "--vocab-size is 8192, must be at most 296");
}

TEST(TokenizeCommand, ASizeThatContradictsTheTokenizerIsRefused) {
  TemporaryDirectory directory;
  const std::string model =
      directory.Write("t.model", ModelBuilder().Bytes().Serialize());
  const std::string input = directory.Write("a.txt", "x");
  ExpectUsageError({"--input=" + input, "--output=" + directory.Path("o"),
                    "--tokenizer=" + model, "--vocab-size=300"},
                   "--vocab-size is 300, but " + model + " has 259 pieces");
}

}  // namespace
}  // namespace moe
