#ifndef TRAINER_CHECKPOINT_STORE_WEIGHTS_PLAN_H_
#define TRAINER_CHECKPOINT_STORE_WEIGHTS_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "comm/mesh.h"
#include "moe/parameters/parameter_table.h"

namespace moe {

struct WeightsPlanOptions {
  // Ranks beyond those that hold one copy of all experts write only if each
  // file then has at least this size: a small model makes few files.
  int64_t min_file_bytes = int64_t{64} << 20;
  // A rank begins another file rather than exceed this (but for one tensor
  // that is larger), as Hugging Face's own shards.
  int64_t max_file_bytes = int64_t{5'000'000'000};
};

// One safetensors file of a checkpoint: written by one rank.
struct WeightsFile {
  std::string name;
  int rank = 0;
  // Indices into ParameterTable::parameters(), by name: the order in the file.
  std::vector<int> parameters;
};

// Which rank writes which float32 tensor into which file. The same on every
// rank, from table and mesh alone. Each tensor has one writer among the ranks
// that hold it; bytes are spread evenly; a rank with nothing to write has no
// file. Files are numbered by rank.
//
// The writers are the first m expert groups' ranks (every rank holds the
// replicated tensors, and each of a group other experts), m as large as
// min_file_bytes allows.
struct WeightsPlan {
  std::vector<WeightsFile> files;
  // By parameter, its index in `files`.
  std::vector<int> file_of_parameter;
  // All parameters by name: the order in which ranks go through them.
  std::vector<int> order;
  int64_t total_bytes = 0;
};

WeightsPlan PlanWeights(const ParameterTable& table, const Mesh& mesh,
                        const WeightsPlanOptions& options = {});

// model.safetensors.index.json: which file holds which tensor.
std::string WeightsIndexJson(const WeightsPlan& plan,
                             const ParameterTable& table);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_WEIGHTS_PLAN_H_
