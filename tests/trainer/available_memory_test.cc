#include "trainer/plan/available_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace moe {
namespace {

// A tree with a /proc and a /sys of its own.
class AvailableMemoryTest : public testing::Test {
 protected:
  AvailableMemoryTest() {
    const testing::TestInfo& test =
        *testing::UnitTest::GetInstance()->current_test_info();
    root_ = testing::TempDir() + "/available_memory_" + test.name();
    std::filesystem::remove_all(root_);
    Write("proc/meminfo",
          "MemTotal:       24684084 kB\n"
          "MemFree:          100000 kB\n"
          "MemAvailable:   20000000 kB\n");
    Write("proc/self/cgroup", "0::/job/task\n");
  }
  ~AvailableMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // A cgroup of version 2, under /sys/fs/cgroup.
  void WriteCgroup(const std::string& path, const std::string& limit,
                   const std::string& usage, const std::string& statistics) {
    Write("sys/fs/cgroup/" + path + "/memory.max", limit + "\n");
    Write("sys/fs/cgroup/" + path + "/memory.current", usage + "\n");
    Write("sys/fs/cgroup/" + path + "/memory.stat", statistics);
  }

  std::string root_;
};

TEST_F(AvailableMemoryTest, IsWhatTheSystemCallsAvailable) {
  const AvailableMemory available = FindAvailableMemory(root_);
  EXPECT_EQ(available.bytes, int64_t{20000000} * 1024);
  EXPECT_EQ(available.source, "MemAvailable of /proc/meminfo");
}

TEST_F(AvailableMemoryTest, ACgroupWithoutALimitChangesNothing) {
  WriteCgroup("job/task", "max", "5000000000", "inactive_file 0\n");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, int64_t{20000000} * 1024);
}

TEST_F(AvailableMemoryTest, IsWhatTheCgroupsLimitLeaves) {
  WriteCgroup("job/task", "8000000000", "3000000000",
              "anon 2000000000\n"
              "file 1000000000\n"
              "inactive_anon 2000000000\n"
              "inactive_file 600000000\n"
              "active_file 300000000\n");
  const AvailableMemory available = FindAvailableMemory(root_);
  // What can be read from files again makes room.
  EXPECT_EQ(available.bytes, 8000000000 - 3000000000 + 900000000);
  EXPECT_EQ(available.source,
            "what is left of " + root_ + "/sys/fs/cgroup/job/task/memory.max");
}

TEST_F(AvailableMemoryTest, TheTightestCgroupUpTheTreeCounts) {
  WriteCgroup("job/task", "8000000000", "1000", "");
  WriteCgroup("job", "4000000000", "1000000000", "");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, 3000000000);
  WriteCgroup("job", "max", "1000000000", "");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, 7999999000);
}

TEST_F(AvailableMemoryTest, InAContainerTheMountedRootCounts) {
  Write("proc/self/cgroup", "0::/kubepods/pod1/seen/by/the/host\n");
  WriteCgroup("", "2000000000", "500000000", "");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, 1500000000);
}

TEST_F(AvailableMemoryTest, ACgroupOverItsLimitHasNothingLeft) {
  WriteCgroup("job/task", "1000", "5000", "");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, 0);
}

TEST_F(AvailableMemoryTest, Version1LimitsCount) {
  Write("proc/self/cgroup", "5:memory:/docker\n4:cpu,cpuacct:/docker\n0::/\n");
  const std::string cgroup = "sys/fs/cgroup/memory/docker/";
  Write(cgroup + "memory.limit_in_bytes", "6000000000\n");
  Write(cgroup + "memory.usage_in_bytes", "2000000000\n");
  Write(cgroup + "memory.stat",
        "inactive_file 7\nactive_file 7\n"
        "total_inactive_file 300000000\ntotal_active_file 200000000\n");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, 4500000000);
  // As it is written where there is no limit.
  Write(cgroup + "memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(FindAvailableMemory(root_).bytes, int64_t{20000000} * 1024);
}

TEST_F(AvailableMemoryTest, HasNoBoundWhereTheSystemSaysNothing) {
  for (const char* meminfo : {"", "MemAvailable: much kB\n", "MemAvailable:"}) {
    Write("proc/meminfo", meminfo);
    EXPECT_EQ(FindAvailableMemory(root_).bytes,
              std::numeric_limits<int64_t>::max())
        << meminfo;
  }
}

TEST(AvailableMemory, ThisMachineHasSome) {
  const AvailableMemory available = FindAvailableMemory();
  EXPECT_GT(available.bytes, int64_t{16} << 20) << available.source;
  EXPECT_LT(available.bytes, int64_t{1} << 50) << available.source;
}

}  // namespace
}  // namespace moe
