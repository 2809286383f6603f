#include "trainer/report/trace_range.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "comm/process_groups.h"
#include "comm/single_group.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

using Json = nlohmann::json;

TEST(StepRange, IsTwoStepsInOrder) {
  const absl::StatusOr<StepRange> range = ParseStepRange("5:8");
  ASSERT_TRUE(range.ok());
  EXPECT_FALSE(range->contains(4));
  EXPECT_TRUE(range->contains(5));
  EXPECT_TRUE(range->contains(8));
  EXPECT_FALSE(range->contains(9));
  EXPECT_TRUE(ParseStepRange("3:3")->contains(3));
  EXPECT_FALSE(ParseStepRange("")->contains(1));
  for (const char* text :
       {"5", "8:5", "0:5", "-1:5", "5:", ":", "a:b", "1:2:3"})
    EXPECT_EQ(ParseStepRange(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
}

TEST(TraceJson, IsWhatTheViewersRead) {
  TraceEvent stage = {
      .name = "dispatch",
      .position = {.step = 3, .layer = 1, .phase = Phase::kDispatch},
      .begin = 5000,
      .end = 9000};
  stage.numbers[0] = {"rows_sent", 7};
  TraceEvent work = {.kind = TraceEvent::Kind::kWork,
                     .name = "all-to-all-v",
                     .position = stage.position,
                     .begin = 6000,
                     .end = 8000,
                     .bytes = 64};
  SetGroup(work, "expert");
  const Json json = Json::parse(TraceJson({stage, work}, /*rank=*/2,
                                          /*origin=*/4000,
                                          /*clock_offset=*/500));
  std::vector<Json> events;
  for (const Json& event : json["traceEvents"])
    if (event["ph"] != "M") events.push_back(event);
  ASSERT_EQ(events.size(), 3u);
  for (const Json& event : events) EXPECT_EQ(event["pid"], 2);
  EXPECT_EQ(events[0]["ph"], "X");
  EXPECT_EQ(events[0]["ts"], 1.5) << "microseconds on rank 0's clock";
  EXPECT_EQ(events[0]["dur"], 4.0);
  EXPECT_EQ(events[0]["args"],
            Json({{"step", 3}, {"layer", 1}, {"rows_sent", 7}}));
  EXPECT_EQ(events[1]["ph"], "b");
  EXPECT_EQ(events[2]["ph"], "e");
  EXPECT_EQ(events[1]["id"], events[2]["id"]);
  EXPECT_NE(events[1]["tid"], events[0]["tid"]);
  EXPECT_EQ(events[1]["args"]["group"], "expert");
  EXPECT_EQ(events[1]["args"]["bytes"], 64);
  EXPECT_EQ(events[2]["ts"], 4.5);
}

class TraceRangeTest : public testing::Test {
 protected:
  // Goes through steps 1 to `last` of a run, in a stage each.
  absl::Status Run(TraceRange& trace, int64_t last) {
    absl::Status status;
    for (int64_t step = 1; step <= last; ++step) {
      EXPECT_TRUE(trace.BeforeStep(step).ok());
      SetStep(step);
      { const PhaseScope phase(Phase::kExperts); }
      bool written = false;
      const absl::Status now = trace.AfterStep(step, step == last, &written);
      if (!now.ok()) status = now;
      num_written_ += written ? 1 : 0;
    }
    return status;
  }

  std::unique_ptr<ProcessGroup> world_ = MakeSingleGroup("world");
  int num_written_ = 0;
};

TEST_F(TraceRangeTest, WritesAFileAfterItsLastStep) {
  FakeFileSystem files(PosixFileSystem());
  const std::string directory =
      JoinPath(testing::TempDir(), "trace_range_test");
  TraceRange trace({.first = 2, .last = 3}, files, directory, *world_);
  EXPECT_TRUE(Run(trace, /*last=*/5).ok());
  EXPECT_EQ(num_written_, 1);
  const auto text =
      files.ReadFile(JoinPath(directory, "step_2_to_3_rank_0.json"), 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const Json json = Json::parse(*text);
  std::vector<int64_t> steps;
  for (const Json& event : json["traceEvents"])
    if (event["name"] == "experts") steps.push_back(event["args"]["step"]);
  EXPECT_EQ(steps, std::vector<int64_t>({2, 3}));
  ASSERT_TRUE(files.Remove(directory).ok());
}

TEST_F(TraceRangeTest, WritesWhatThereIsWhereTheRunEndsBefore) {
  FakeFileSystem files(PosixFileSystem());
  const std::string directory =
      JoinPath(testing::TempDir(), "trace_range_test");
  TraceRange trace({.first = 2, .last = 30}, files, directory, *world_);
  EXPECT_TRUE(Run(trace, /*last=*/4).ok());
  EXPECT_TRUE(files.Exists(JoinPath(directory, "step_2_to_4_rank_0.json")));
  ASSERT_TRUE(files.Remove(directory).ok());
}

TEST_F(TraceRangeTest, TellsOfADiskThatRefusesAndGoesOn) {
  FakeFileSystem files(PosixFileSystem());
  files.FailWrite(1, /*and_all_after=*/true);
  TraceRange trace({.first = 2, .last = 3}, files, "trace", *world_);
  const absl::Status status = Run(trace, /*last=*/5);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(IsAgreed(status));
  EXPECT_EQ(num_written_, 0);
  EXPECT_FALSE(Tracing());
}

}  // namespace
}  // namespace moe
