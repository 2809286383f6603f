#include "comm/base/file_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <asio/error.hpp>

#include "absl/strings/str_cat.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(FileLimit, IsNamedWhereItIsReached) {
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const absl::Status status =
      OpenError("listening", asio::error::no_descriptors);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("at most ", limit.rlim_cur)));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit -n"));
}

TEST(FileLimit, IsNotNamedWhereSomethingElseFails) {
  const absl::Status status =
      OpenError("listening", asio::error::address_in_use);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("ulimit")));
}

TEST(FileLimit, IsRaisedButNeverLowered) {
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlim_t high = std::min<rlim_t>(before.rlim_max, 200);
  const rlimit low = {.rlim_cur = high / 2, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  rlimit now = {};
  AllowOpenFiles(high);
  getrlimit(RLIMIT_NOFILE, &now);
  EXPECT_EQ(now.rlim_cur, high);
  AllowOpenFiles(high / 2);
  getrlimit(RLIMIT_NOFILE, &now);
  EXPECT_EQ(now.rlim_cur, high);
  setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace moe
