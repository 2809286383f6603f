#include "trainer/checkpoint/store/weights_plan.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/weights_index.h"

namespace moe {
namespace {

int64_t BytesOf(const Parameter& parameter) {
  return parameter.size * static_cast<int64_t>(sizeof(float));
}

// How many expert groups' ranks write.
int NumWritingReplicas(const Mesh& mesh, int64_t total_bytes,
                       int64_t min_file_bytes) {
  const int64_t files = total_bytes / min_file_bytes;
  return static_cast<int>(
      std::clamp<int64_t>(files / mesh.expert(), 1, mesh.expert_replicas()));
}

// Gives every tensor a writer: the largest first, each to the writer that has
// the least so far (the lowest rank of equals). Experts go before the tensors
// that every writer holds, which then fill what the experts left uneven.
std::vector<int> AssignWriters(const ParameterTable& table, const Mesh& mesh,
                               int replicas) {
  const auto& parameters = table.parameters();
  std::vector<int> by_size(parameters.size());
  std::iota(by_size.begin(), by_size.end(), 0);
  std::stable_sort(by_size.begin(), by_size.end(), [&](int a, int b) {
    const Parameter& x = parameters[static_cast<size_t>(a)];
    const Parameter& y = parameters[static_cast<size_t>(b)];
    return std::pair(x.expert < 0, -x.size) < std::pair(y.expert < 0, -y.size);
  });
  std::vector<int64_t> load(static_cast<size_t>(mesh.expert() * replicas), 0);
  std::vector<int> writer(parameters.size());
  for (int index : by_size) {
    const Parameter& parameter = parameters[static_cast<size_t>(index)];
    const bool everywhere = parameter.expert < 0;
    // Ranks first, first + step, ...: see Mesh.
    const int first = everywhere ? 0 : parameter.expert / table.local_experts();
    const int step = everywhere ? 1 : mesh.expert();
    size_t best = static_cast<size_t>(first);
    for (size_t rank = best; rank < load.size();
         rank += static_cast<size_t>(step))
      if (load[rank] < load[best]) best = rank;
    load[best] += BytesOf(parameter);
    writer[static_cast<size_t>(index)] = static_cast<int>(best);
  }
  return writer;
}

}  // namespace

WeightsPlan PlanWeights(const ParameterTable& table, const Mesh& mesh,
                        const WeightsPlanOptions& options) {
  const auto& parameters = table.parameters();
  WeightsPlan plan;
  for (const Parameter& parameter : parameters)
    plan.total_bytes += BytesOf(parameter);
  plan.order.resize(parameters.size());
  std::iota(plan.order.begin(), plan.order.end(), 0);
  std::sort(plan.order.begin(), plan.order.end(), [&](int a, int b) {
    return parameters[static_cast<size_t>(a)].name <
           parameters[static_cast<size_t>(b)].name;
  });

  const int replicas =
      NumWritingReplicas(mesh, plan.total_bytes, options.min_file_bytes);
  const std::vector<int> writer = AssignWriters(table, mesh, replicas);
  plan.file_of_parameter.resize(parameters.size());
  for (int rank = 0; rank < mesh.expert() * replicas; ++rank) {
    int64_t bytes = 0;
    for (int index : plan.order) {
      const size_t i = static_cast<size_t>(index);
      if (writer[i] != rank) continue;
      const bool first = plan.files.empty() || plan.files.back().rank != rank;
      if (first || bytes + BytesOf(parameters[i]) > options.max_file_bytes) {
        plan.files.push_back({.name = "", .rank = rank, .parameters = {}});
        bytes = 0;
      }
      bytes += BytesOf(parameters[i]);
      plan.files.back().parameters.push_back(index);
      plan.file_of_parameter[i] = static_cast<int>(plan.files.size()) - 1;
    }
  }
  for (size_t i = 0; i < plan.files.size(); ++i)
    plan.files[i].name = WeightsFileName(static_cast<int>(i),
                                         static_cast<int>(plan.files.size()));
  return plan;
}

std::string WeightsIndexJson(const WeightsPlan& plan,
                             const ParameterTable& table) {
  std::map<std::string, std::string> file_of_tensor;
  for (size_t i = 0; i < plan.file_of_parameter.size(); ++i) {
    const size_t file = static_cast<size_t>(plan.file_of_parameter[i]);
    file_of_tensor[table.parameters()[i].name] = plan.files[file].name;
  }
  return WeightsIndexText(plan.total_bytes, file_of_tensor);
}

}  // namespace moe
