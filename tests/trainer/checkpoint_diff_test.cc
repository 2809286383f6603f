#include "trainer/checkpoint/tools/checkpoint_diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/checkpoint_builder.h"

namespace moe {
namespace {

using Kind = TensorDifference::Kind;

constexpr char kNorm[] = "model.norm.weight";
constexpr char kGate[] = "model.layers.0.block_sparse_moe.gate.weight";
constexpr char kHead[] = "lm_head.weight";

class CheckpointDiffTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<TensorDifference>> Diff(bool optimizer = false) {
    for (const char* name : {"a", "b"})
      EXPECT_TRUE(PosixFileSystem().Remove(directory_.Path(name)).ok());
    a_.Write(directory_.Path("a"));
    b_.Write(directory_.Path("b"));
    const auto a =
        OpenStoredCheckpoint(PosixFileSystem(), directory_.Path("a"));
    const auto b =
        OpenStoredCheckpoint(PosixFileSystem(), directory_.Path("b"));
    EXPECT_TRUE(a.ok()) << a.status();
    EXPECT_TRUE(b.ok()) << b.status();
    return DiffCheckpoints(*a, *b, {.optimizer = optimizer, .threads = 3},
                           [](const std::string&, int64_t, int64_t) {});
  }

  TemporaryDirectory directory_;
  CheckpointBuilder a_;
  CheckpointBuilder b_;
};

TEST_F(CheckpointDiffTest, TheSameIsEqualWhateverPiecesTheMomentsHave) {
  b_.piece_elements = 7;
  const auto differences = Diff(/*optimizer=*/true);
  ASSERT_TRUE(differences.ok()) << differences.status();
  EXPECT_EQ(differences->size(), 3 * 41u);
  for (const TensorDifference& difference : *differences) {
    EXPECT_EQ(difference.kind, Kind::kEqual) << difference.name;
    EXPECT_EQ(difference.largest, 0);
    EXPECT_EQ(difference.relative, 0);
  }
}

TEST_F(CheckpointDiffTest, DifferencesAreMeasuredAndTheLargestIsFirst) {
  a_.weights[kNorm] = {3, 4, 0, 0, 0, 0, 0, 0};
  b_.weights[kNorm] = {3, 4, 0, 0, -0.5, 0, 0, 0.25};
  b_.weights[kGate][31] += 0.75f;
  b_.second_moments[kGate][8] += 2;
  const auto all = Diff(/*optimizer=*/true);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[0].name, kGate);
  EXPECT_EQ((*all)[0].state, "second_moment");
  EXPECT_EQ((*all)[0].largest, 2);
  EXPECT_EQ((*all)[1].name, kGate);
  EXPECT_EQ((*all)[1].state, "");
  EXPECT_EQ((*all)[1].largest, 0.75);
  EXPECT_EQ((*all)[2].name, kNorm);
  EXPECT_EQ((*all)[2].kind, Kind::kElements);
  EXPECT_EQ((*all)[2].largest, 0.5);
  EXPECT_DOUBLE_EQ((*all)[2].relative, std::sqrt(0.3125) / 5);
  EXPECT_EQ((*all)[3].kind, Kind::kEqual);
  // Without the moments nobody looks at them.
  EXPECT_EQ((*Diff())[0].largest, 0.75);
}

TEST_F(CheckpointDiffTest, TensorsOfManyPiecesAreComparedToTheirEnd) {
  a_ = b_ = CheckpointBuilder(/*vocab_size=*/20000);
  b_.weights[kHead].back() += 0.5f;
  const auto all = Diff();
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[0].name, kHead);
  EXPECT_EQ((*all)[0].largest, 0.5);
  EXPECT_EQ((*all)[1].kind, Kind::kEqual);
}

TEST_F(CheckpointDiffTest, BitsDecideWhetherTensorsAreEqual) {
  a_.weights[kNorm][0] = 0.0f;
  b_.weights[kNorm][0] = -0.0f;
  a_.weights[kGate][0] = std::numeric_limits<float>::quiet_NaN();
  b_.weights[kGate][0] = std::numeric_limits<float>::quiet_NaN();
  const auto all = Diff();
  ASSERT_TRUE(all.ok()) << all.status();
  for (const TensorDifference& difference : *all) {
    EXPECT_EQ(difference.kind == Kind::kElements, difference.name == kNorm)
        << difference.name;
    EXPECT_EQ(difference.largest, 0);
  }
}

TEST_F(CheckpointDiffTest, WhatIsNoNumberIsTheLargest) {
  b_.weights[kNorm][2] = std::numeric_limits<float>::quiet_NaN();
  b_.weights[kGate][0] += 1e6f;
  const auto all = Diff();
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[0].name, kNorm);
  EXPECT_TRUE(std::isnan((*all)[0].largest));
  EXPECT_TRUE(std::isnan((*all)[0].relative));
  EXPECT_EQ((*all)[1].name, kGate);
}

TEST_F(CheckpointDiffTest, TensorsThatHaveNoCounterpartComeFirst) {
  b_.weights.erase(kHead);
  a_.weights.erase(kGate);
  b_.config.mutable_model()->set_intermediate_size(5);
  const ParameterTable table = b_.Table();
  for (const Parameter& parameter : table.parameters()) {
    if (parameter.expert >= 0) {
      b_.weights[parameter.name].resize(static_cast<size_t>(parameter.size));
      b_.first_moments.erase(parameter.name);
    }
  }
  const auto all = Diff();
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ((*all)[0].name, kHead);
  EXPECT_EQ((*all)[0].kind, Kind::kOnlyInA);
  int shapes = 0;
  int only_in_b = 0;
  for (const TensorDifference& difference : *all) {
    shapes += difference.kind == Kind::kShape;
    only_in_b += difference.kind == Kind::kOnlyInB;
    if (difference.name ==
        "model.layers.0.block_sparse_moe.experts.0.w1.weight") {
      EXPECT_EQ(difference.note, "[6, 8] against [5, 8]");
    }
  }
  EXPECT_EQ(only_in_b, 1);
  EXPECT_EQ(shapes, 2 * 4 * 3);
}

TEST_F(CheckpointDiffTest, MomentsThatAreNotThereAreAnError) {
  b_.first_moments.clear();
  EXPECT_EQ(Diff(/*optimizer=*/true).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Diff().ok());
}

}  // namespace
}  // namespace moe
