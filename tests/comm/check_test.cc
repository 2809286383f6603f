#include "comm/base/check.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "comm/base/exit_code.h"
#include "comm/base/status_macros.h"

namespace moe {
namespace {

TEST(CheckDeathTest, AFailureNamesTheConditionAndEndsWithCode70) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const int ranks = 3;
  EXPECT_EXIT(CHECK(ranks == 4), testing::ExitedWithCode(70),
              "check_test.cc:[0-9]+: check failed: ranks == 4");
  CHECK(ranks == 3);
}

TEST(ExitCode, TellsWhoseFaultItWas) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::InvalidArgumentError("")), 64);
  EXPECT_EQ(ExitCode(absl::DataLossError("")), 65);
  EXPECT_EQ(ExitCode(absl::UnimplementedError("")), 69);
  EXPECT_EQ(ExitCode(absl::InternalError("")), 70);
  EXPECT_EQ(ExitCode(absl::UnavailableError("")), 71);
  EXPECT_EQ(ExitCode(absl::AbortedError("")), 74);
  EXPECT_EQ(ExitCode(absl::CancelledError("")), 75);
  EXPECT_EQ(ExitCode(absl::OutOfRangeError("")), 76);
}

TEST(StatusMacros, ContextIsAddedToErrorsOnly) {
  EXPECT_EQ(Annotate(absl::NotFoundError("no such file"), "reading a.bin"),
            absl::NotFoundError("reading a.bin: no such file"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "reading a.bin").ok());
}

}  // namespace
}  // namespace moe
