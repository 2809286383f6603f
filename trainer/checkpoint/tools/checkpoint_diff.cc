#include "trainer/checkpoint/tools/checkpoint_diff.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/store/parallel_tasks.h"

namespace moe {
namespace {

using Kind = TensorDifference::Kind;

// A tensor of A, B or both.
struct Pair {
  const WeightsLoader::Entry* a = nullptr;
  const WeightsLoader::Entry* b = nullptr;
};

struct Job {
  TensorDifference difference;
  int64_t size = 0;     // elements to compare; 0: none
  int64_t columns = 0;  // of the tensor
};

std::string ShapeText(const WeightsLoader::Entry& entry) {
  return absl::StrCat("[", absl::StrJoin(entry.shape, ", "), "]");
}

Job WeightJob(const std::string& name, const Pair& pair) {
  Job job;
  job.difference.name = name;
  if (pair.a == nullptr || pair.b == nullptr) {
    job.difference.kind = pair.b == nullptr ? Kind::kOnlyInA : Kind::kOnlyInB;
    return job;
  }
  if (pair.a->shape != pair.b->shape) {
    job.difference.kind = Kind::kShape;
    job.difference.note =
        absl::StrCat(ShapeText(*pair.a), " against ", ShapeText(*pair.b));
    return job;
  }
  job.size = NumElements(*pair.a);
  job.columns = NumColumns(*pair.a);
  if (pair.a->dtype != pair.b->dtype) {
    job.difference.kind = Kind::kType;
    job.difference.note =
        absl::StrCat(Name(pair.a->dtype), " against ", Name(pair.b->dtype));
  }
  return job;
}

std::vector<Job> MakeJobs(const std::vector<WeightsLoader::Entry>& entries_a,
                          const std::vector<WeightsLoader::Entry>& entries_b,
                          bool optimizer) {
  std::map<std::string, Pair> pairs;
  for (const WeightsLoader::Entry& entry : entries_a)
    pairs[entry.name].a = &entry;
  for (const WeightsLoader::Entry& entry : entries_b)
    pairs[entry.name].b = &entry;
  std::vector<Job> jobs;
  for (const auto& [name, pair] : pairs) {
    jobs.push_back(WeightJob(name, pair));
    if (!optimizer || jobs.back().size == 0) continue;
    Job moment = jobs.back();
    for (const OptimizerState& state : kOptimizerStates) {
      moment.difference = {.name = name, .state = state.name, .note = ""};
      jobs.push_back(moment);
    }
  }
  return jobs;
}

absl::Status Read(const StoredCheckpoint& stored, const Job& job, int64_t begin,
                  absl::Span<float> out) {
  const TensorDifference& difference = job.difference;
  if (difference.state.empty())
    return stored.weights->LoadParameter(difference.name, begin, out);
  return stored.moments->Load(difference.name, difference.state, job.columns,
                              begin, out);
}

absl::Status Compare(const StoredCheckpoint& a, const StoredCheckpoint& b,
                     Job& job) {
  TensorDifference& difference = job.difference;
  double sum_of_differences = 0;  // squares
  double sum_of_a = 0;
  bool is_number = true;
  bool equal = true;
  std::vector<float> from_b;
  int64_t begin = 0;
  const absl::Status read = ReadInPieces(
      job.size,
      [&](int64_t at, absl::Span<float> out) { return Read(a, job, at, out); },
      [&](absl::Span<const float> from_a) {
        from_b.resize(from_a.size());
        RETURN_IF_ERROR(Read(b, job, begin, absl::MakeSpan(from_b)));
        begin += static_cast<int64_t>(from_a.size());
        for (size_t i = 0; i < from_a.size(); ++i) {
          const double x = from_a[i];
          sum_of_a += x * x;
          if (std::bit_cast<uint32_t>(from_a[i]) ==
              std::bit_cast<uint32_t>(from_b[i]))
            continue;
          equal = false;
          const double distance = std::abs(from_b[i] - x);
          is_number = is_number && !std::isnan(distance);
          difference.largest = std::max(difference.largest, distance);
          sum_of_differences += distance * distance;
        }
        return absl::OkStatus();
      });
  RETURN_IF_ERROR(read);
  if (!is_number) difference.largest = std::numeric_limits<double>::quiet_NaN();
  if (sum_of_differences != 0)
    difference.relative = std::sqrt(sum_of_differences / sum_of_a);
  if (difference.kind == Kind::kEqual && !equal)
    difference.kind = Kind::kElements;
  return absl::OkStatus();
}

// What comes first has the smallest.
auto SortKey(const TensorDifference& difference) {
  const bool comparable = difference.kind == Kind::kEqual ||
                          difference.kind == Kind::kElements ||
                          difference.kind == Kind::kType;
  const double largest = std::isnan(difference.largest)
                             ? std::numeric_limits<double>::infinity()
                             : difference.largest;
  return std::tuple(comparable, -largest, difference.name, difference.state);
}

}  // namespace

absl::StatusOr<std::vector<TensorDifference>> DiffCheckpoints(
    const StoredCheckpoint& a, const StoredCheckpoint& b,
    const DiffOptions& options, const ProgressFunction& progress) {
  for (const StoredCheckpoint* stored : {&a, &b}) {
    if (!options.optimizer || stored->moments != nullptr) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(stored->path, " holds no optimizer state"));
  }
  const std::vector<WeightsLoader::Entry> entries_a = a.weights->Entries();
  const std::vector<WeightsLoader::Entry> entries_b = b.weights->Entries();
  std::vector<Job> jobs = MakeJobs(entries_a, entries_b, options.optimizer);
  int64_t total = 0;
  for (const Job& job : jobs) total += job.size;
  SharedProgress shared(progress, "comparing", total);
  RETURN_IF_ERROR(RunTasks(options.threads, static_cast<int64_t>(jobs.size()),
                           [&](int64_t i) {
                             Job& job = jobs[static_cast<size_t>(i)];
                             const absl::Status status = Compare(a, b, job);
                             shared.Add(job.size);
                             return status;
                           }));
  std::vector<TensorDifference> differences;
  for (const Job& job : jobs) differences.push_back(job.difference);
  std::sort(differences.begin(), differences.end(),
            [](const TensorDifference& x, const TensorDifference& y) {
              return SortKey(x) < SortKey(y);
            });
  return differences;
}

}  // namespace moe
