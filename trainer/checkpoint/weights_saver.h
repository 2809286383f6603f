#ifndef TRAINER_CHECKPOINT_WEIGHTS_SAVER_H_
#define TRAINER_CHECKPOINT_WEIGHTS_SAVER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "data/file_system.h"
#include "data/hf_tokenizer.h"
#include "data/tokenizer.h"
#include "moe/parameter_table.h"
#include "trainer/checkpoint/master_weights.h"
#include "trainer/checkpoint/tensor_assembler.h"
#include "trainer/checkpoint/weights_plan.h"

namespace moe {

// The files beside the weights by which transformers knows a checkpoint:
// config.json, generation_config.json and, if `tokenizer` is not null, the
// tokenizer's.
std::vector<NamedFile> ModelFiles(const ModelConfig& model,
                                  const RouterConfig& router,
                                  int64_t sequence_length,
                                  const Tokenizer* tokenizer, bool add_bos);

// Writes the weights of a step as a directory that transformers loads: float32
// masters in safetensors files that the ranks write in parallel. Protocol in
// weights_saver.cc.
class WeightsSaver {
 public:
  // All outlive the saver.
  struct Environment {
    FileSystem& files;
    const ParameterTable& table;
    const Mesh& mesh;
    const ProcessGroups& groups;
  };
  struct Options {
    WeightsPlanOptions plan;
    // The most of a tensor that is gathered at once.
    int64_t max_piece_bytes = int64_t{64} << 20;
  };
  WeightsSaver(const Environment& environment, const Options& options);
  explicit WeightsSaver(const Environment& environment)
      : WeightsSaver(environment, Options()) {}

  // Saves `masters` and `model_files` in DIRECTORY/step_NNNNNNNN/ and returns
  // that path. Collective; the same status on all ranks. AlreadyExists: the
  // step is there. Aborted: a disk refused on some rank, said where; then
  // nothing stands under the name. Only when a rank is lost in the middle may
  // step_NNNNNNNN.tmp/ stay; the next save of the step removes it.
  absl::StatusOr<std::string> Save(const std::string& directory, int64_t step,
                                   const std::vector<NamedFile>& model_files,
                                   MasterWeights& masters);

  const WeightsPlan& plan() const { return plan_; }

 private:
  ProcessGroup& world() const { return environment_.groups.world(); }
  absl::Status Prepare(const std::string& directory, const std::string& final,
                       const std::string& temporary);
  absl::Status WriteWeights(const std::string& temporary,
                            TensorAssembler& tensors, absl::Status& disk);
  absl::Status WriteModelFiles(const std::string& temporary,
                               const std::vector<NamedFile>& model_files);
  absl::Status Commit(const std::string& directory, const std::string& final,
                      const std::string& temporary);

  Environment environment_;
  const int64_t max_piece_bytes_;
  const WeightsPlan plan_;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_WEIGHTS_SAVER_H_
