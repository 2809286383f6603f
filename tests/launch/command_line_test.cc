#include "launch/command/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandLineTest : public ::testing::Test {
 protected:
  CommandLineTest()
      : line_({.name = "moe-test",
               .purpose = "tests.",
               .examples = {"moe-test --text=a", "moe-test --switch"},
               .exit_codes = {64, 76},
               .own_exit_codes = {{76, "not tested"}, {2, "tested enough"}}}) {
    line_.Add("text", "TEXT", "some text", &text_);
    line_.Add("number", "N", "some number", &number_);
    line_.Add("share", "X", "some share", &share_);
    line_.Add("switch", "", "on or off", &switch_);
  }

  absl::StatusOr<std::string> Parse(std::vector<const char*> words) {
    words.insert(words.begin(), "moe-test");
    return line_.Parse(static_cast<int>(words.size()), words.data());
  }
  std::string ErrorOf(const std::vector<const char*>& words) {
    const auto result = Parse(words);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(result.status().message());
  }

  CommandLine line_;
  std::string text_ = "default";
  int64_t number_ = 7;
  double share_ = 0.5;
  bool switch_ = false;
  std::vector<std::string> words_;
};

TEST_F(CommandLineTest, WithoutFlagsTheDefaultsStay) {
  const auto result = Parse({});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(*result, "");
  EXPECT_EQ(text_, "default");
  EXPECT_EQ(number_, 7);
  EXPECT_FALSE(switch_);
}

TEST_F(CommandLineTest, ValuesStandBehindAnEqualsSignOrASpace) {
  ASSERT_TRUE(Parse({"--text=a=b", "--number", "-3", "--share=1e-3"}).ok());
  EXPECT_EQ(text_, "a=b");
  EXPECT_EQ(number_, -3);
  EXPECT_EQ(share_, 1e-3);
}

TEST_F(CommandLineTest, AnEmptyValueIsAValue) {
  ASSERT_TRUE(Parse({"--text=", "--switch"}).ok());
  EXPECT_EQ(text_, "");
  EXPECT_TRUE(switch_);
}

TEST_F(CommandLineTest, ASwitchTakesNoValue) {
  EXPECT_EQ(ErrorOf({"--switch=yes"}),
            "--switch is given the value 'yes', must be given without one");
  EXPECT_THAT(ErrorOf({"--switch=false"}), HasSubstr("must be given without"));
  EXPECT_THAT(ErrorOf({"--switch="}), HasSubstr("the value ''"));
  EXPECT_THAT(ErrorOf({"--help=no"}), HasSubstr("must be given without"));
  ASSERT_TRUE(Parse({"--text=--switch=yes"}).ok());
  EXPECT_EQ(text_, "--switch=yes");
  EXPECT_FALSE(switch_);
}

TEST_F(CommandLineTest, OneValueIsWantedOnce) {
  EXPECT_EQ(ErrorOf({"--number=1", "--number", "2"}),
            "--number is given 2 times, as '1' and '2', must be given once");
  EXPECT_EQ(ErrorOf({"--text=a", "--switch", "--text=a"}),
            "--text is given 2 times, as 'a' and 'a', must be given once");
}

TEST_F(CommandLineTest, AListTakesEveryValueAndASwitchIsOnHoweverOftenGiven) {
  line_.Add("list", "WORD", "some words", &words_);
  ASSERT_TRUE(Parse({"--list=a", "--switch", "--list=b", "--switch"}).ok());
  EXPECT_THAT(words_, ElementsAre("a", "b"));
  EXPECT_TRUE(switch_);
}

TEST_F(CommandLineTest, WordsGoWhereTheyAreWanted) {
  EXPECT_THAT(ErrorOf({"word"}), HasSubstr("'word' is no flag"));
  line_.AddWords("[word ...]", "words", &words_);
  ASSERT_TRUE(Parse({"a.b=c", "--switch", "d"}).ok());
  EXPECT_THAT(words_, ElementsAre("a.b=c", "d"));
  EXPECT_TRUE(switch_);
}

TEST_F(CommandLineTest, AnUnknownFlagGetsTheNearestOne) {
  EXPECT_EQ(ErrorOf({"--numbre=3"}),
            "there is no flag --numbre; did you mean --number?");
  EXPECT_THAT(ErrorOf({"-t"}), HasSubstr("there is no flag -t"));
  line_.AddWords("[word ...]", "words", &words_);
  EXPECT_THAT(ErrorOf({"--halp", "x"}), HasSubstr("did you mean --help?"));
}

TEST_F(CommandLineTest, AWrongValueIsNamed) {
  EXPECT_EQ(ErrorOf({"--number=x"}), "--number is 'x', must be an integer");
  EXPECT_EQ(ErrorOf({"--share=x"}), "--share is 'x', must be a number");
  EXPECT_THAT(ErrorOf({"--text"}), HasSubstr("--text"));
}

TEST_F(CommandLineTest, HelpHasALineForEverything) {
  const auto help = Parse({"--number=x", "--help"});
  ASSERT_TRUE(help.ok());
  for (const char* part :
       {"Usage: moe-test [flags]", "--text=TEXT  some text\n",
        "--switch     on or off\n", "--version",
        "Exit codes:\n  0   done\n  2   tested enough\n  64  usage",
        "started\n  76  not tested\n\nExamples",
        "  moe-test --text=a\n  moe-test --switch\n"})
    EXPECT_THAT(*help, HasSubstr(part));
  EXPECT_EQ(number_, 7);
}

TEST_F(CommandLineTest, VersionIsOneLine) {
  const auto version = Parse({"--version"});
  ASSERT_TRUE(version.ok());
  EXPECT_THAT(*version, ::testing::MatchesRegex("moe-test [0-9.]+\n"));
}

}  // namespace
}  // namespace moe
