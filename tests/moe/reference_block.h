#ifndef TESTS_MOE_REFERENCE_BLOCK_H_
#define TESTS_MOE_REFERENCE_BLOCK_H_

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "moe/model_config.pb.h"
#include "tests/moe/reference_attention.h"
#include "tests/moe/reference_ops.h"
#include "tests/moe/reference_router.h"

namespace moe::reference {

// Parameters or their gradients by Hugging Face name.
using Tensors = std::map<std::string, Vector>;

// Linear maps and norms by name: a weight to read, a gradient to add to.
class Parameters {
 public:
  Parameters(const Tensors& weights, Tensors& gradients, double epsilon)
      : weights_(weights), gradients_(gradients), epsilon_(epsilon) {}

  const Vector& Weight(const std::string& name) const {
    return weights_.at(name);
  }
  Vector& Gradient(const std::string& name) { return gradients_.at(name); }

  Vector Project(const Vector& x, const std::string& name) const {
    return Linear(x, Weight(name));
  }
  Vector ProjectBackward(const Vector& d_y, const Vector& x,
                         const std::string& name) {
    return LinearBackward(d_y, x, Weight(name), Gradient(name));
  }
  Vector Norm(const Vector& x, const std::string& name) const {
    return RmsNorm(x, Weight(name), epsilon_);
  }
  Vector NormBackward(const Vector& d_y, const Vector& x,
                      const std::string& name) {
    return RmsNormBackward(d_y, x, Weight(name), epsilon_, Gradient(name));
  }

 private:
  const Tensors& weights_;
  Tensors& gradients_;
  double epsilon_;
};

// One transformer block on the tokens of one micro-step; keeps what its
// backward needs: sequences of `length` tokens, which a capacity looks at.
// `documents` are the lengths of the documents, or whole sequences, that follow
// one another and do not attend to each other.
class Block {
 public:
  Block(const ModelConfig& model, const RouterConfig& router, size_t layer,
        size_t length, std::vector<size_t> documents, Parameters& parameters);

  Rows Forward(const Rows& x);
  // aux: derivative of the (unweighted) auxiliary loss by each token's
  // probabilities; d_z: weight of a token's squared log-sum-exp in the loss.
  Rows Backward(const Rows& d_y, const Rows& aux, double d_z);

  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::string Name(const std::string& rest) const;
  std::string ExpertName(size_t expert, const std::string& matrix) const;
  ExpertWeights WeightsOf(size_t expert) const;
  ExpertGradients GradientsOf(size_t expert);

  // Fills routes_, sequence by sequence.
  void ChooseExperts();
  Vector Moe(size_t token) const;
  Vector MoeBackward(const Vector& d_y, size_t token, const Vector& aux,
                     double d_z);
  // Adds the experts' gradients; returns those of input and weights.
  Vector ExpertsBackward(const Vector& d_y, size_t token, Vector& d_weights);
  Rows AttentionPartBackward(const Rows& d_y);

  const RouterConfig& router_;
  std::string prefix_;
  size_t top_k_;
  size_t length_;
  std::vector<size_t> documents_;
  Heads heads_;
  Parameters& parameters_;

  // Activations, a row for each token.
  Rows x_;
  Rows normed_;
  Rows q_;
  Rows k_;
  Rows v_;
  Rows head_outputs_;
  Rows middle_;  // the residual stream after attention
  Rows middle_normed_;
  std::vector<Route> routes_;
};

}  // namespace moe::reference

#endif  // TESTS_MOE_REFERENCE_BLOCK_H_
