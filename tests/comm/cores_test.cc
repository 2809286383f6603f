#include "comm/base/cores.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace moe {
namespace {

// A tree like /sys/fs/cgroup.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    const testing::TestInfo& test =
        *testing::UnitTest::GetInstance()->current_test_info();
    root_ = testing::TempDir() + "/cgroup_" + test.name();
    std::filesystem::remove_all(root_);
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  std::string root_;
};

TEST_F(CgroupTest, WithoutAQuotaThereIsNoLimit) {
  EXPECT_EQ(CgroupCpuLimit("0::/\n", root_), 0.0);
  EXPECT_EQ(CgroupCpuLimit("", root_), 0.0);
  Write("cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/\n", root_), 0.0);
  Write("cpu/cpu.cfs_quota_us", "-1\n");
  Write("cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuLimit("1:cpu:/\n", root_), 0.0);
}

TEST_F(CgroupTest, TheTightestQuotaUpTheTreeCounts) {
  Write("job/task/cpu.max", "800000 100000\n");
  Write("job/cpu.max", "250000 100000\n");
  Write("cpu.max", "400000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/job/task\n", root_), 2.5);
  EXPECT_EQ(CgroupCpuLimit("0::/other\n", root_), 4.0);
}

TEST_F(CgroupTest, InAContainerTheMountedRootCounts) {
  Write("cpu.max", "300000 100000\n");
  EXPECT_EQ(CgroupCpuLimit("0::/kubepods/pod1/seen/by/the/host\n", root_), 3.0);
}

TEST_F(CgroupTest, Version1QuotasCount) {
  Write("cpu,cpuacct/docker/cpu.cfs_quota_us", "150000\n");
  Write("cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(
      CgroupCpuLimit("5:memory:/docker\n4:cpu,cpuacct:/docker\n0::/\n", root_),
      1.5);
}

TEST(Cores, AreTheAffinityMaskAndAtLeastOne) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  EXPECT_EQ(CoresWithin(mask), 1);
  CPU_SET(3, &mask);
  EXPECT_EQ(CoresWithin(mask), 1);
  const cpu_set_t own = AffinityMask();
  EXPECT_GE(CPU_COUNT(&own), 1);
  EXPECT_GE(AvailableCores(), 1);
  EXPECT_LE(AvailableCores(), CPU_COUNT(&own));
}

}  // namespace
}  // namespace moe
