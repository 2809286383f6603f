#include "comm/watch/start_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace moe {
namespace {

using testing::StartsWith;

LostRankReport Report(const std::vector<SeenProcess>& seen) {
  return MakeStartReport(/*self=*/0, /*world=*/6, "node7", "start of MPI", seen,
                         absl::Seconds(60));
}

TEST(StartReport, NamesTheStoppedRankOfThisHost) {
  const LostRankReport report = Report({{0, 100, 'S'},
                                        {1, 101, 'R'},
                                        {2, 102, 'S'},
                                        {2, 103, 'T'},
                                        {3, 104, 'D'}});
  EXPECT_EQ(report.cause,
            "rank 2 (pid 103 on host node7) does not come to the start of the "
            "job: its process is stopped (SIGSTOP, or a debugger); rank 0 has "
            "waited in start of MPI longer than "
            "parallel.collective_timeout_seconds (60)");
  EXPECT_EQ(report.text,
            absl::StrCat(
                report.cause,
                "\nwhat each rank was doing:\n"
                "  rank 0: start of MPI\n"
                "  rank 1: its process runs on host node7\n"
                "  rank 2: its process is stopped (SIGSTOP, or a debugger)\n"
                "  rank 3: its process is in the kernel's hands (a disk that "
                "does not answer?)\n"
                "  rank 4-5: its process was not found on host node7\n"));
  EXPECT_EQ(report.exit_code, 71);
}

TEST(StartReport, TellsOfEveryRankWhatIsStrangeAboutIt) {
  const std::string text =
      Report({{0, 100, 'S'}, {1, 101, 'T'}, {2, 102, 'D'}, {2, 103, 'S'}}).text;
  EXPECT_THAT(text, testing::HasSubstr("rank 2: its process is in the kernel"));
}

TEST(StartReport, ThinksOfTheStoppedBeforeTheSlow) {
  EXPECT_THAT(Report({{1, 101, 'D'}, {2, 102, 'T'}}).cause,
              StartsWith("rank 2 (pid 102 "));
}

TEST(StartReport, SaysWhereToLookWhenNothingIsSeen) {
  EXPECT_EQ(Report({{0, 100, 'R'}, {1, 101, 'S'}}).cause,
            "the job does not start: rank 0 has waited in start of MPI longer "
            "than parallel.collective_timeout_seconds (60); the reason is not "
            "seen on host node7");
}

// A child that belongs to rank 5 of a job of that name, until it is killed.
pid_t StartMember(const char* job) {
  const pid_t child = fork();
  if (child != 0) return child;
  setenv("PMIX_NAMESPACE", job, 1);
  setenv("PMIX_RANK", "5", 1);
  execlp("sleep", "sleep", "600", nullptr);
  _exit(127);
}

TEST(HasLeft, IsARankOfWhichNothingIsSeenAnyMore) {
  const std::vector<SeenProcess> before = {
      {0, 100, 'S'}, {1, 101, 'S'}, {1, 102, 'S'}, {2, 103, 'T'}};
  EXPECT_FALSE(HasLeft({}, before));
  EXPECT_FALSE(HasLeft(before, before));
  // A script around it, and a rank that came late.
  EXPECT_FALSE(HasLeft(
      before, {{0, 100, 'S'}, {1, 102, 'R'}, {2, 103, 'T'}, {3, 104, 'S'}}));
  EXPECT_TRUE(HasLeft(before, {{1, 101, 'S'}, {2, 103, 'T'}}));
  EXPECT_TRUE(HasLeft(before, {}));
}

// Rank 2 of four; rank 0 leaves, then rank 1.
TEST(StartPatience, WaitsAnewForEachRankThatHasLeft) {
  StartPatience patience(/*rank=*/2, /*limit=*/absl::Seconds(10));
  std::vector<SeenProcess> now = {
      {0, 10, 'S'}, {1, 11, 'S'}, {2, 12, 'S'}, {3, 13, 'T'}};
  const auto speaks = [&](int seconds) {
    return patience
        .Ask(
            absl::Seconds(seconds), [] { return true; }, [&] { return now; })
        .has_value();
  };
  EXPECT_FALSE(speaks(5));
  EXPECT_FALSE(speaks(11));
  EXPECT_FALSE(speaks(16)) << "rank 1's turn";
  now.erase(now.begin());
  EXPECT_FALSE(speaks(18)) << "rank 0 has left";
  EXPECT_FALSE(speaks(47));
  now.erase(now.begin());
  EXPECT_FALSE(speaks(49)) << "and so has rank 1";
  EXPECT_FALSE(speaks(78));
  EXPECT_TRUE(speaks(80)) << "but the job has not ended";
}

TEST(StartPatience, LetsLowerRanksSpeakFirst) {
  const std::vector<SeenProcess> all = {{0, 10, 'S'}, {1, 11, 'T'}};
  for (int rank : {0, 1, 5}) {
    StartPatience patience(rank, absl::Seconds(10));
    const int turn = 11 + 3 * rank;
    EXPECT_FALSE(patience.Ask(
        absl::Seconds(turn), [] { return true; }, [&] { return all; }));
    const auto seen = patience.Ask(
        absl::Seconds(turn + 1), [] { return true; }, [&] { return all; });
    ASSERT_TRUE(seen.has_value());
    EXPECT_EQ(seen->size(), 2);
  }
}

// Rank 1 tells at the same moment, since it began later than this one.
TEST(StartPatience, LeavesItToTheOneThatTells) {
  const std::vector<SeenProcess> all = {{1, 11, 'S'}, {2, 12, 'S'}};
  StartPatience patience(/*rank=*/2, /*limit=*/absl::Seconds(10));
  bool is_free = false;
  const auto speaks = [&](int seconds) {
    return patience
        .Ask(
            absl::Seconds(seconds), [&] { return is_free; },
            [&] { return all; })
        .has_value();
  };
  EXPECT_FALSE(speaks(18));
  is_free = true;
  EXPECT_FALSE(speaks(47));
  EXPECT_TRUE(speaks(49)) << "the other one has not ended the job";
}

TEST(TellersClaim, IsOfOneAtATime) {
  const std::string job = absl::StrCat("test-", getpid());
  TellersClaim first, second, other;
  EXPECT_TRUE(first.Take(job));
  EXPECT_TRUE(first.Take(job)) << "it has it already";
  EXPECT_FALSE(second.Take(job));
  EXPECT_TRUE(other.Take(job + "-b")) << "another job";
  first.Release();
  EXPECT_TRUE(second.Take(job));
}

TEST(FindProcessesOfJob, FindsThoseOfTheJobAndTheirState) {
  const std::string job = absl::StrCat("start_watch_test.", getpid());
  setenv("PMIX_NAMESPACE", job.c_str(), 1);
  const pid_t member = StartMember(job.c_str());
  const pid_t other = StartMember("another");
  kill(member, SIGSTOP);
  int status = 0;
  waitpid(member, &status, WUNTRACED);
  std::vector<SeenProcess> seen;
  // Before its exec the child has our environment, which names no rank.
  for (int tries = 0; seen.empty() && tries < 1000; ++tries) {
    seen = FindProcessesOfJob();
    if (!seen.empty()) break;
    kill(member, SIGCONT);
    absl::SleepFor(absl::Milliseconds(10));
    kill(member, SIGSTOP);
    waitpid(member, &status, WUNTRACED);
  }
  kill(member, SIGKILL);
  kill(other, SIGKILL);
  waitpid(member, &status, 0);
  waitpid(other, &status, 0);
  unsetenv("PMIX_NAMESPACE");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].rank, 5);
  EXPECT_EQ(seen[0].pid, member);
  EXPECT_EQ(seen[0].state, 'T');
  EXPECT_TRUE(FindProcessesOfJob().empty());
}

StartWatch::Options Options(absl::Duration limit) {
  return {.rank = 0,
          .world = 2,
          .limit = limit,
          .report = [](const LostRankReport& report) {
            fputs(report.text.c_str(), stderr);
          }};
}

TEST(StartWatchDeathTest, EndsAStartThatTakesTooLong) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const auto watch = StartWatch::Start(Options(absl::ZeroDuration()));
        absl::SleepFor(absl::Minutes(5));
      },
      testing::ExitedWithCode(71), "rank 0 has waited in ");
}

TEST(StartWatch, LeavesAStartAloneThatIsOver) {
  ASSERT_TRUE(StartWatch::Start(Options(absl::Minutes(10))).ok());
}

}  // namespace
}  // namespace moe
