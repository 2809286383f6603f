#ifndef TESTS_COMM_GROUP_FIXTURE_H_
#define TESTS_COMM_GROUP_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.h"

namespace moe {

// The groups that the conformance suite runs over.
enum class GroupKind {
  kSingle,
  kWorld,
  kWorldShortMessages,  // of at most 97 elements
  kWorldMessagesOfAThousand,
  kReversed,     // group rank r is world rank W - 1 - r
  kAlternating,  // even and odd ranks, two groups at the same time
  kHalves,       // lower and upper ranks, two groups at the same time
};
std::string Name(GroupKind kind);

// This rank's group of the kind. Collective over the world.
std::unique_ptr<ProcessGroup> MakeGroup(GroupKind kind);

// A test with a group for every kind. Skips, with its reason, a kind that
// needs MPI when no launcher started the test.
class GroupTest : public testing::TestWithParam<GroupKind> {
 protected:
  void SetUp() override;
  // Keeps one test's messages away from the next one's.
  void TearDown() override;

  ProcessGroup& group() { return *group_; }
  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }

  // One more group over the same ranks.
  std::unique_ptr<ProcessGroup> AnotherGroup() { return MakeGroup(GetParam()); }

 private:
  std::unique_ptr<ProcessGroup> group_;
};

std::vector<GroupKind> AllGroupKinds();
std::string KindOfParam(const testing::TestParamInfo<GroupKind>& info);

// x as a T: exact for the small integers that the tests use.
template <typename T>
T Cast(double x) {
  return static_cast<T>(x);
}
template <>
inline BFloat16 Cast<BFloat16>(double x) {
  return ToBFloat16(static_cast<float>(x));
}

inline double Value(BFloat16 x) { return static_cast<double>(ToFloat(x)); }
template <typename T>
double Value(T x) {
  return static_cast<double>(x);
}

template <typename T>
std::vector<double> Values(const std::vector<T>& elements) {
  std::vector<double> values;
  for (T element : elements) values.push_back(Value(element));
  return values;
}

// {f(0), f(1), ..., f(count - 1)} as T.
template <typename T, typename Function>
std::vector<T> Fill(int64_t count, Function f) {
  std::vector<T> elements;
  for (int64_t i = 0; i < count; ++i)
    elements.push_back(Cast<T>(static_cast<double>(f(i))));
  return elements;
}

template <typename T>
MemoryView View(std::vector<T>& elements) {
  return ViewOf(absl::MakeSpan(elements));
}

// Calls function(T()) for every element type.
template <typename Function>
void ForEachDType(Function function) {
  function(float());
  function(double());
  function(BFloat16());
  function(int32_t());
  function(int64_t());
}

}  // namespace moe

#endif  // TESTS_COMM_GROUP_FIXTURE_H_
