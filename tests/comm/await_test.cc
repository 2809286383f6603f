#include "comm/await.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace moe {
namespace {

// Puts the options of a test binary back.
class AwaitTest : public testing::TestWithParam<bool> {
 protected:
  void Limit(absl::Duration timeout) {
    SetAwaitOptions({.oversubscribed = GetParam(), .timeout = timeout});
  }
  ~AwaitTest() override { SetAwaitOptions({}); }
};

TEST_P(AwaitTest, ReturnsWhenItIsDone) {
  Limit(absl::Minutes(1));
  // In its busy, yielding and sleeping phases.
  for (int needed : {1, 50, 400}) {
    int calls = 0;
    EXPECT_TRUE(Await([&] { return ++calls == needed; }, "a count").ok());
    EXPECT_EQ(calls, needed) << "not called again once done";
  }
}

TEST_P(AwaitTest, GivesUpAfterTheTimeoutAndNamesTheOperation) {
  Limit(absl::Milliseconds(2));
  const absl::Status status =
      Await([] { return false; }, "all-to-all-v in group expert");
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(std::string(status.message()),
            "all-to-all-v in group expert did not complete within 2ms");
}

INSTANTIATE_TEST_SUITE_P(Oversubscribed, AwaitTest, testing::Bool());

}  // namespace
}  // namespace moe
