// What training must not touch.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace hone::test {

/// The weights of a model that do not train, by name.
template <class Model>
std::map<std::string, std::vector<typename Model::Element>> frozen_of(Model& model) {
  std::map<std::string, std::vector<typename Model::Element>> out;
  model.visit([&](const std::string& name, const auto& weight) {
    if (!weight.requires_grad()) out[name] = weight.to_vector();
  });
  return out;
}

}  // namespace hone::test
