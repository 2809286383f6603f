#ifndef TESTS_GOLDEN_FILE_H_
#define TESTS_GOLDEN_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "moe/model_config.pb.h"
#include "moe/parameters/parameter_table.h"
#include "moe/parameters/weights.h"

namespace moe {

// Values of tensors by name, whatever they were stored as.
using NamedTensors = std::map<std::string, std::vector<double>>;

// The numbers of golden/NAME.{safetensors,json}, computed by transformers in
// double precision (golden/make_golden.py says what they are). A reader of
// its own, so that the trainer's reader is not measured with itself. A file
// that is missing or broken ends the test.
class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name);

  // A whole tensor; the name must exist.
  const std::vector<double>& operator[](const std::string& name) const;
  const std::vector<int64_t>& Shape(const std::string& name) const;
  // Token ids [..., L + 1] as a network takes them: all but the last column,
  // and all but the first.
  std::vector<int32_t> Inputs(const std::string& name) const;
  std::vector<int32_t> Targets(const std::string& name) const;
  // All tensors below "weight/", "grad/" or "after/", without that prefix.
  NamedTensors Below(const std::string& prefix) const;

  const ModelConfig& model() const { return model_; }
  // transformers' auxiliary loss.
  const RouterConfig& router() const { return router_; }

 private:
  std::vector<int32_t> WithoutColumn(const std::string& name,
                                     size_t column) const;
  void ReadTensors(const std::string& path);
  void ReadConfig(const std::string& path);

  NamedTensors tensors_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  ModelConfig model_;
  RouterConfig router_;
};

// Writes the local parameters' values into `storage`, in its dtypes; tensors
// hold the whole model.
void SetParameters(const NamedTensors& tensors, const ParameterTable& table,
                   const ParameterStorage& storage);
// The part of a whole tensor that is this rank's.
std::vector<double> SliceOf(const Parameter& parameter,
                            const std::vector<double>& tensor);
// Reads all local parameters, of each this rank's slice.
NamedTensors GetParameters(const ParameterTable& table,
                           const ParameterStorage& storage);

// |a - b| / |b| in the Euclidean norm; |a| where b is zero.
double RelativeDifference(const std::vector<double>& a,
                          const std::vector<double>& b);

}  // namespace moe

#endif  // TESTS_GOLDEN_FILE_H_
