#include "comm/mpi/foreign_launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

namespace moe {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Of an environment in which these are the only words of any launcher.
std::optional<ForeignLauncher> FindIn(
    const std::map<std::string, std::string>& variables) {
  for (const char* name :
       {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_RANK",
        "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "PMI_RANK",
        "PMI_SIZE", "RANK", "WORLD_SIZE", "MASTER_ADDR", "PALS_RANKID",
        "PALS_LOCAL_SIZE", "ALPS_APP_PE", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"})
    unsetenv(name);
  for (const auto& [name, value] : variables)
    setenv(name.c_str(), value.c_str(), 1);
  const std::optional<ForeignLauncher> found = FindForeignLauncher();
  for (const auto& [name, value] : variables) unsetenv(name.c_str());
  return found;
}

TEST(ForeignLauncher, OneOfSeveralIsToldWhatToTypeInstead) {
  const auto srun = FindIn({{"SLURM_PROCID", "3"},
                            {"SLURM_NTASKS", "4"},
                            {"SLURM_STEP_NUM_TASKS", "4"}});
  ASSERT_TRUE(srun.has_value());
  EXPECT_EQ(srun->rank, 3);
  EXPECT_EQ(srun->world, 4);
  EXPECT_THAT(srun->message,
              AllOf(HasSubstr("one of 4 processes that srun started"),
                    HasSubstr("srun --mpi=pmix, or launch/run.sh -n 4"),
                    HasSubstr("SLURM_PROCID unset")));
  for (const auto& [rank, size] : std::map<std::string, std::string>{
           {"PMI_RANK", "PMI_SIZE"},
           {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"},
           {"FLUX_TASK_RANK", "FLUX_JOB_SIZE"},
           {"JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"}}) {
    const auto other = FindIn({{rank, "0"}, {size, "2"}});
    ASSERT_TRUE(other.has_value()) << rank;
    EXPECT_THAT(other->message, AllOf(HasSubstr(rank), HasSubstr(size),
                                      HasSubstr("launch/run.sh -n 2")));
  }
  EXPECT_TRUE(
      FindIn({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}})
          .has_value());
}

TEST(ForeignLauncher, CrayPalsSaysHowManyThereAreInWordsOfItsPmi) {
  const auto pals = FindIn({{"PALS_RANKID", "1"},
                            {"PALS_LOCAL_SIZE", "1"},
                            {"PMI_RANK", "1"},
                            {"PMI_SIZE", "2"}});
  ASSERT_TRUE(pals.has_value());
  EXPECT_EQ(pals->world, 2);
  EXPECT_FALSE(pals->is_first);
  EXPECT_THAT(pals->message, HasSubstr("one of 2 processes that Cray PALS "
                                       "started (PALS_RANKID, PMI_SIZE)"));
  // Without them it tells of this node alone: not how many there are.
  const auto node = FindIn({{"PALS_RANKID", "0"}, {"PALS_LOCAL_SIZE", "4"}});
  ASSERT_TRUE(node.has_value());
  EXPECT_TRUE(node->is_first);
  EXPECT_EQ(node->world, 0);
  EXPECT_THAT(
      node->message,
      AllOf(HasSubstr("one of at least 4 processes that Cray PALS started, 4 "
                      "of them on this node (PALS_RANKID, PALS_LOCAL_SIZE)"),
            HasSubstr("launch/run.sh -n RANKS")));
  // Ranks of another node are above the count of their node.
  const auto other = FindIn({{"PALS_RANKID", "6"}, {"PALS_LOCAL_SIZE", "4"}});
  ASSERT_TRUE(other.has_value());
  EXPECT_FALSE(other->is_first);
  EXPECT_THAT(other->message, HasSubstr("one of at least 4 processes"));
  // flux run sets its words too.
  EXPECT_THAT(FindIn({{"FLUX_TASK_RANK", "0"},
                      {"FLUX_JOB_SIZE", "2"},
                      {"PALS_RANKID", "0"},
                      {"PMI_SIZE", "2"}})
                  ->message,
              HasSubstr("flux run"));
}

// The first that knows speaks; rank 0 does not know.
TEST(ForeignLauncher, ARankAboveZeroIsNotAloneWhateverElseIsSaid) {
  using Words = std::map<std::string, std::string>;
  for (const Words& words :
       {Words{{"ALPS_APP_PE", "1"}}, Words{{"PALS_RANKID", "1"}},
        Words{{"PALS_RANKID", "1"}, {"PALS_LOCAL_SIZE", "1"}}}) {
    const auto found = FindIn(words);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->rank, 1);
    EXPECT_EQ(found->world, 0);
    EXPECT_TRUE(found->is_first);
    EXPECT_THAT(found->message, AllOf(HasSubstr("process 1 of several that "),
                                      HasSubstr("launch/run.sh -n RANKS")));
  }
  EXPECT_FALSE(FindIn({{"ALPS_APP_PE", "2"}})->is_first);
}

TEST(ForeignLauncher, WhatIsAloneIsLeftAlone) {
  EXPECT_FALSE(FindIn({}).has_value());
  // The shell of salloc, and a batch script's own.
  EXPECT_FALSE(FindIn({{"SLURM_NTASKS", "4"}}).has_value());
  EXPECT_FALSE(
      FindIn({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).has_value());
  // srun --pty, and any step of one task.
  EXPECT_FALSE(FindIn({{"SLURM_PROCID", "0"},
                       {"SLURM_NTASKS", "1"},
                       {"SLURM_STEP_NUM_TASKS", "1"}})
                   .has_value());
  // A batch script that was sent from a step of two.
  EXPECT_FALSE(FindIn({{"SLURM_PROCID", "0"},
                       {"SLURM_NTASKS", "3"},
                       {"SLURM_STEP_NUM_TASKS", "2"}})
                   .has_value());
  EXPECT_FALSE(FindIn({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}).has_value());
  EXPECT_FALSE(FindIn({{"ALPS_APP_PE", "0"}}).has_value());
  EXPECT_FALSE(FindIn({{"PALS_RANKID", "0"}}).has_value());
  EXPECT_FALSE(FindIn({{"PALS_RANKID", "0"},
                       {"PALS_LOCAL_SIZE", "1"},
                       {"PMI_RANK", "0"},
                       {"PMI_SIZE", "1"}})
                   .has_value());
  EXPECT_FALSE(FindIn({{"PMI_SIZE", "4"}}).has_value());
  EXPECT_FALSE(FindIn({{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}).has_value());
  EXPECT_FALSE(FindIn({{"PMI_RANK", "x"}, {"PMI_SIZE", "4"}}).has_value());
  EXPECT_FALSE(FindIn({{"WORLD_SIZE", "8"}}).has_value());
  EXPECT_FALSE(FindIn({{"RANK", "0"}, {"WORLD_SIZE", "8"}}).has_value());
}

TEST(ForeignLauncher, AnUnderstoodLauncherCountsMore) {
  EXPECT_FALSE(FindIn({{"OMPI_COMM_WORLD_RANK", "1"},
                       {"OMPI_COMM_WORLD_SIZE", "2"},
                       {"SLURM_PROCID", "0"},
                       {"SLURM_STEP_NUM_TASKS", "2"},
                       {"PMI_RANK", "0"},
                       {"PMI_SIZE", "2"}})
                   .has_value());
  EXPECT_FALSE(FindIn({{"PMIX_RANK", "1"},
                       {"SLURM_PROCID", "1"},
                       {"SLURM_NTASKS", "2"},
                       {"SLURM_STEP_NUM_TASKS", "2"}})
                   .has_value());
}

}  // namespace
}  // namespace moe
